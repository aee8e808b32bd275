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

TEST(EarlierTables, AreWhatTheSweepWroteOfItsFinishedRuns) {
  const TemporaryFolder folder;
  write_sweep(three_runs(), folder.path());
  const std::vector<EarlierRun> runs = read_earlier_tables(folder.path());
  ASSERT_THAT(runs, SizeIs(2));
  EXPECT_THAT(runs[0].stages, ElementsAre("zero-1", "tf-2"));
  EXPECT_DOUBLE_EQ(*runs[0].figures.at("tf.loss").value, 0.123456789);  // nine digits are written
  EXPECT_DOUBLE_EQ(*runs[0].figures.at("steps_to_0.6").value, 12.5);
  EXPECT_EQ(runs[0].curve_name, "tf.loss");
  EXPECT_THAT(runs[0].curve.steps, ElementsAre(10, 20));
  EXPECT_THAT(runs[0].curve.values, ElementsAre(0.5, 0.123456789));
  EXPECT_THAT(runs[1].stages, ElementsAre("zero-1", "tf-3"));
  EXPECT_TRUE(runs[1].figures.at("steps_to_0.6").never);
  EXPECT_FALSE(runs[1].figures.at("tf.loss").value);
  EXPECT_TRUE(runs[1].curve.steps.empty());
}

TEST(EarlierTables, HaveTheRunsThatAValueWasChosenOn) {
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
  const std::vector<EarlierRun> runs = read_earlier_tables(folder.path());
  ASSERT_THAT(runs, SizeIs(3)) << "the run without a figure is none";
  EXPECT_THAT(runs[2].stages, ElementsAre("zero-7", "tf-7"));
  EXPECT_DOUBLE_EQ(*runs[2].figures.at("tf.loss").value, 0.5);
}

TEST(EarlierTables, SayWhatIsWrongAndWhere) {
  const TemporaryFolder folder;
  const auto message = [&](const std::string& table,
                           const char* name = "table.csv") -> std::string {
    std::ofstream(folder.path() / name, std::ios::trunc) << table;
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
  EXPECT_EQ(message(head), "");
  EXPECT_THAT(message("cell,seed,step,loss\na,0,,1\n", "curves.csv"),
              HasSubstr("curves.csv: row 2, 'step': is empty"));
  EXPECT_EQ(message("cell,seed,step,loss\n", "curves.csv"), "");
  EXPECT_THAT(message("stages,seed\na,0\n", "tune.csv"), HasSubstr("between seed and stages"));
}

}  // namespace
}  // namespace vmla::analysis
