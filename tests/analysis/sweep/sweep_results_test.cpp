// Figures read from runs, and the tables and the page made of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "analysis/sweep/sweep_plots.h"
#include "analysis/sweep/sweep_results.h"
#include "analysis/sweep/sweep_tables.h"
#include "model/io/error.h"
#include "tests/support/temporary_folder.h"

namespace vmla::analysis {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(StepsToTarget, LieOnTheLineBetweenTwoPoints) {
  const MetricSeries curve{.steps = {10, 20, 30, 40}, .values = {1, 0.6, 0.7, 0.2}};
  EXPECT_DOUBLE_EQ(*steps_to_target(&curve, 0.8).value, 15);
  EXPECT_DOUBLE_EQ(*steps_to_target(&curve, 0.6).value, 20);
  EXPECT_DOUBLE_EQ(*steps_to_target(&curve, 0.45).value, 35);  // of the last fall alone
  EXPECT_DOUBLE_EQ(*steps_to_target(&curve, 2).value, 10);     // it begins there
  EXPECT_TRUE(steps_to_target(&curve, 0.1).never);
  EXPECT_FALSE(steps_to_target(&curve, 0.1).value);
  const SeedFigure none = steps_to_target(nullptr, 1);
  EXPECT_FALSE(none.never || none.value);
}

TEST(RunFigure, ComesFromTheSummaryThenFromTheMetrics) {
  RunContents run;
  run.summary = {{"adherence.colour", 0.75}};
  run.summary_lists = {{"rank.entropy_rank", {10, 12, 14}}};
  run.metrics["loss"] = {.steps = {1, 2}, .values = {3, 2}};
  EXPECT_EQ(run_figure(run, "adherence.colour"), 0.75);
  EXPECT_EQ(run_figure(run, "rank.entropy_rank"), 12);
  EXPECT_EQ(run_figure(run, "loss"), 2);
  EXPECT_FALSE(run_figure(run, "nothing"));
}

/// Two cells of one axis and one outside it, two seeds; one run has failed, one waits, and one
/// never reached its target.
SweepResults small_sweep() {
  const MetricSeries curve{.steps = {1, 2}, .values = {0.9, 0.5}};
  SweepResults sweep;
  sweep.name = "small";
  sweep.axes = {"rank"};
  sweep.seeds = {0, 1};
  sweep.figures = {{.name = "loss", .stage = "tf", .key = "loss"},
                   {.name = "steps_to_0.6", .stage = "tf", .key = "loss", .target = 0.6}};
  sweep.cells = {{.name = "rank=4,a", .labels = {"4"}, .baseline = {}, .tuned = ""},
                 {.name = "rank=8", .labels = {"8"}, .baseline = 0, .tuned = ""},
                 {.name = "dense", .labels = {}, .baseline = 0, .tuned = ""}};
  const auto run = [&](size_t cell, int64_t seed, double loss, SeedFigure steps) {
    sweep.runs.push_back({.cell = cell,
                          .seed = seed,
                          .folder = "cells/x",
                          .stages = {"zero-1", formatted("tf-{}{}", cell, seed)},
                          .done = true,
                          .failure = "",
                          .figures = {{.value = loss}, steps},
                          .curves = {curve}});
  };
  run(0, 0, 1.0, {.value = 100});
  run(0, 1, 2.0, {.value = 200});
  run(1, 0, 0.5, {.value = {}, .never = true});
  run(1, 1, 1.0, {.value = 150});
  run(2, 0, 0.25, {.value = 50});
  sweep.runs.push_back({.cell = 2,
                        .seed = 1,
                        .folder = "cells/y",
                        .stages = {},
                        .failure = "tf: <b>\"no\"</b>, memory",
                        .figures = {},
                        .curves = {}});
  return sweep;
}

TEST(SweepTables, HoldEveryRunAndQuoteWhatHasCommas) {
  EXPECT_EQ(sweep_table_csv(small_sweep()),
            "cell,seed,rank,state,loss,steps_to_0.6,stages,folder,failure\n"
            "\"rank=4,a\",0,4,done,1,100,zero-1 tf-00,cells/x,\n"
            "\"rank=4,a\",1,4,done,2,200,zero-1 tf-01,cells/x,\n"
            "rank=8,0,8,done,0.5,never,zero-1 tf-10,cells/x,\n"
            "rank=8,1,8,done,1,150,zero-1 tf-11,cells/x,\n"
            "dense,0,,done,0.25,50,zero-1 tf-20,cells/x,\n"
            "dense,1,,failed,,,,cells/y,\"tf: <b>\"\"no\"\"</b>, memory\"\n");
}

TEST(SweepTables, SummariseOverSeedsAndDifferAtEqualSeeds) {
  EXPECT_THAT(sweep_summary_csv(small_sweep()), HasSubstr("rank=8,steps_to_0.6,,,1,1,\n"));
  EXPECT_THAT(sweep_summary_csv(small_sweep()),
              HasSubstr("\"rank=4,a\",loss,1.5,0.707106781,2,0,1.5\n"));
  const std::string differences = sweep_differences_csv(small_sweep());
  // -0.5 and -1: mean -0.75, sd sqrt(0.125), half-width 12.7062 sd / sqrt(2) = 3.176551
  EXPECT_THAT(differences,
              HasSubstr("rank=8,\"rank=4,a\",loss,-0.75,-3.92655118,2.42655118,0.353553391,2,0\n"));
  EXPECT_THAT(differences, HasSubstr("dense,\"rank=4,a\",loss,-0.75,,,,1,1\n"));
  EXPECT_THAT(differences, HasSubstr("rank=8,\"rank=4,a\",steps_to_0.6,-50,,,,1,1\n"));
  EXPECT_THAT(differences, Not(HasSubstr("\n\"rank=4,a\",\"rank=4,a\"")));
}

TEST(SweepTables, AreWrittenWithThePage) {
  const TemporaryFolder folder;
  SweepResults sweep = small_sweep();
  sweep.tuned_key = "lr";
  sweep.tuned_values = {"1e-3", "1e-2"};
  sweep.tune_seeds = {7};
  sweep.choices = {{.group = "all",
                    .figures = {{0.5}, {NAN}},
                    .stages = {{{"zero-7"}}, {{"zero-8"}}},
                    .chosen = 0}};
  write_sweep(sweep, folder.path());
  const auto text = [&](const char* name) {
    std::ostringstream out;
    out << std::ifstream(folder.path() / name).rdbuf();
    return out.str();
  };
  const auto json = nlohmann::json::parse(text("sweep.json"));
  EXPECT_EQ(json["cells"][1]["differences"]["loss"]["mean"], -0.75);
  EXPECT_EQ(json["cells"][1]["figures"]["steps_to_0.6"]["never"], 1);
  EXPECT_EQ(json["runs"][5]["state"], "failed");
  EXPECT_EQ(json["runs"][2]["figures"]["steps_to_0.6"], "never");
  EXPECT_TRUE(json["tune"]["choices"][0]["tried"]["1e-2"][0].is_null());
  EXPECT_EQ(text("table.csv").substr(0, 22), "cell,seed,rank,lr,stat");
  const std::string page = text("sweep.html");
  EXPECT_THAT(page, HasSubstr("&lt;b&gt;"));  // what comes from outside is escaped
  EXPECT_THAT(page, HasSubstr("1 of 2 never"));
  EXPECT_THAT(page, HasSubstr("fewer than 5"));
  EXPECT_THAT(page, HasSubstr("<svg"));
  EXPECT_THAT(text("plots/loss.svg"), HasSubstr("xmlns"));
  EXPECT_THAT(text("plots/curve.svg"), HasSubstr("xmlns"));
}

TEST(SweepPlots, WordsAmongNumbersAreLevels) {
  SweepResults sweep = small_sweep();
  sweep.axes = {"bits", "rank"};
  sweep.cells[0].labels = {"4", "4"};
  sweep.cells[1].labels = {"4", "8"};
  sweep.cells[2].labels = {"4", "dense"};
  const std::string plot = sweep_plots(sweep).front().svg;
  EXPECT_THAT(plot, HasSubstr(">rank<"));  // the axis: of `bits` there is one value
  EXPECT_THAT(plot, HasSubstr(">4, dense<"));
  EXPECT_THAT(plot, HasSubstr("stroke=\"var(--c0)\" stroke-dasharray"));  // as the line of 4 bits
  sweep.cells[1].labels = {"4", "none"};                                  // one number is no axis
  EXPECT_THAT(sweep_plots(sweep).front().svg, HasSubstr(">cell<"));
}

TEST(SweepPlots, ShowANullBesideItsFigureAlone) {
  SweepResults sweep = small_sweep();
  sweep.figures = {{.name = "tf.rank.r99", .stage = "tf", .key = "rank.r99"},
                   {.name = "tf.rank.null_r99", .stage = "tf", .key = "rank.null_r99"}};
  std::vector<SweepPlot> plots = sweep_plots(sweep);
  ASSERT_EQ(plots.size(), 2);  // the second is the curve
  EXPECT_EQ(plots[0].name, "tf.rank.r99");
  EXPECT_THAT(plots[0].svg, HasSubstr(">null<"));
  sweep.figures[1].stage = "zero";  // of another stage it is a figure of its own
  plots = sweep_plots(sweep);
  ASSERT_EQ(plots.size(), 3);
  EXPECT_THAT(plots[0].svg, Not(HasSubstr(">null<")));
}

}  // namespace
}  // namespace vmla::analysis
