// A sweep's tables, read back.
#include "analysis/sweep/earlier_tables.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <string>

#include "analysis/sweep/sweep_results.h"
#include "model/io/error.h"
#include "tests/support/temporary_folder.h"

namespace vmla::analysis {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

/// Three runs: one with everything, one that never reached its target, one that waits.
SweepResults three_runs() {
  SweepResults sweep;
  sweep.name = "three";
  sweep.axes = {"a,b"};
  sweep.seeds = {0, 1};
  sweep.figures = {{.name = "tf.loss", .stage = "tf", .key = "loss"},
                   {.name = "steps_to_0.6", .stage = "tf", .key = "loss", .target = 0.6}};
  sweep.curve_name = "tf.loss";
  sweep.cells = {{.name = "one, two", .labels = {"\"4\""}, .baseline = {}, .tuned = ""},
                 {.name = "b", .labels = {"8"}, .baseline = 0, .tuned = ""}};
  sweep.runs = {{.cell = 0,
                 .seed = 0,
                 .folder = "cells/x",
                 .stages = {"zero-1", "tf-2"},
                 .done = true,
                 .failure = "",
                 .figures = {{.value = 0.1234567891}, {.value = 12.5}},
                 .curves = {{.steps = {10, 20}, .values = {0.5, 0.1234567891}}}},
                {.cell = 1,
                 .seed = 0,
                 .folder = "cells/y",
                 .stages = {"zero-1", "tf-3"},
                 .done = true,
                 .failure = "",
                 .figures = {{}, {.value = {}, .never = true}},
                 .curves = {}},
                {.cell = 1,
                 .seed = 1,
                 .folder = "cells/z",
                 .stages = {"zero-4", "tf-5"},
                 .failure = "",
                 .figures = {},
                 .curves = {}}};
  return sweep;
}

TEST(EarlierTables, AreWhatTheSweepWrote) {
  const TemporaryFolder folder;
  write_sweep(three_runs(), folder.path());
  const EarlierTables tables = read_earlier_tables(folder.path());
  EXPECT_EQ(tables.curve_name, "tf.loss");
  ASSERT_THAT(tables.runs, SizeIs(2));
  const std::vector<std::string> figures = {"tf.loss", "steps_to_0.6"};
  const EarlierRun* whole = tables.find({"zero-1", "tf-2"}, figures);
  ASSERT_NE(whole, nullptr);
  EXPECT_DOUBLE_EQ(*whole->figures.at("tf.loss").value, 0.123456789);  // nine digits are written
  EXPECT_DOUBLE_EQ(*whole->figures.at("steps_to_0.6").value, 12.5);
  EXPECT_THAT(whole->curve.steps, ElementsAre(10, 20));
  EXPECT_THAT(whole->curve.values, ElementsAre(0.5, 0.123456789));
  const EarlierRun* short_of_it = tables.find({"zero-1", "tf-3"}, figures);
  ASSERT_NE(short_of_it, nullptr);
  EXPECT_TRUE(short_of_it->figures.at("steps_to_0.6").never);
  EXPECT_FALSE(short_of_it->figures.at("tf.loss").value);
  EXPECT_TRUE(short_of_it->curve.steps.empty());
}

TEST(EarlierTables, HaveNoRunOfOtherStagesOrWithoutAFigure) {
  const TemporaryFolder folder;
  write_sweep(three_runs(), folder.path());
  const EarlierTables tables = read_earlier_tables(folder.path());
  EXPECT_EQ(tables.find({"zero-4", "tf-5"}, {}), nullptr) << "it waits";
  EXPECT_EQ(tables.find({"zero-1", "tf-9"}, {}), nullptr);
  EXPECT_EQ(tables.find({"tf-2"}, {}), nullptr);
  EXPECT_EQ(tables.find({"zero-1", "tf-2"}, {"tf.keep"}), nullptr);
}

TEST(EarlierTables, KnowTheRunsThatAValueWasChosenOn) {
  const TemporaryFolder folder;
  SweepResults sweep = three_runs();
  sweep.tuned_key = "lr";
  sweep.tune_figure = "tf.loss";
  sweep.tuned_values = {"1e-3", "1e-2"};
  sweep.tune_seeds = {7};
  sweep.choices = {{.group = "all",
                    .figures = {{0.5}, {NAN}},
                    .stages = {{{"zero-7", "tf-7"}}, {{"zero-7", "tf-8"}}},
                    .chosen = 0}};
  write_sweep(sweep, folder.path());
  const EarlierTables tables = read_earlier_tables(folder.path());
  const EarlierRun* tried = tables.find({"zero-7", "tf-7"}, {"tf.loss"});
  ASSERT_NE(tried, nullptr);
  EXPECT_DOUBLE_EQ(*tried->figures.at("tf.loss").value, 0.5);
  EXPECT_EQ(tables.find({"zero-7", "tf-8"}, {"tf.loss"}), nullptr) << "it has no figure";
}

TEST(EarlierTables, SayWhatIsWrongAndWhere) {
  const TemporaryFolder folder;
  const auto message = [&](const std::string& table) -> std::string {
    std::ofstream(folder.path() / "table.csv", std::ios::trunc) << table;
    try {
      read_earlier_tables(folder.path());
    } catch (const UserError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(message(""), HasSubstr("table.csv: is empty"));
  EXPECT_THAT(message("cell,seed,state,loss,folder\n"), HasSubstr("no column 'stages'"));
  const std::string head = "cell,seed,state,loss,stages,folder,failure\n";
  EXPECT_EQ(message(head + "a,0,done,1,tf-1,x,\n"), "");
  EXPECT_THAT(message(head + "a,0,done\n"),
              HasSubstr("row 2 has 3 fields, and the first row names 7"));
  EXPECT_THAT(message(head + "a,0,done,1x,tf-1,x,\n"),
              HasSubstr("row 2, 'loss': '1x' is no number"));
  EXPECT_THAT(message(head + "a,0,done,nan,tf-1,x,\n"), HasSubstr("'nan' is no number"));
  EXPECT_THAT(message(head + "a,0,done,\"1\n"), HasSubstr("never closed"));
}

}  // namespace
}  // namespace vmla::analysis
