#include "analysis/runs/reference_trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <random>

#include "analysis/report/comparison_page.h"
#include "analysis/report/comparison_text.h"
#include "analysis/runs/reference_verdict.h"
#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "tests/support/temporary_folder.h"

namespace vmla::analysis {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr int64_t kSteps = 2000;

/// A run whose loss falls like a training loss does, with noise of its own in every step.
RunContents run_of(unsigned seed, double loss_factor = 1, int64_t steps = kSteps) {
  std::mt19937 engine(seed);
  std::normal_distribution<double> normal;
  RunContents run;
  run.folder = "run" + std::to_string(seed);
  run.config = {{"stage", "tf"},
                {"objective.name", "teacher_forcing"},
                {"optimizer.lr", "0.003"},
                {"seed", std::to_string(seed)}};
  const double own = std::exp(0.02 * normal(engine));  // what a seed changes for good
  for (int64_t step = 1; step <= steps; ++step) {
    const double t = static_cast<double>(step);
    const double level = own * (0.1 + std::exp(-t / 300));
    run.metrics["loss"].steps.push_back(t);
    run.metrics["loss"].values.push_back(level * loss_factor * std::exp(0.3 * normal(engine)));
    run.metrics["grad_norm"].steps.push_back(t);
    run.metrics["grad_norm"].values.push_back(std::exp(0.5 * normal(engine)));
    if (step % 500 == 0) {
      run.metrics["validation_loss"].steps.push_back(t);
      run.metrics["validation_loss"].values.push_back(level);
    }
  }
  run.summary = {{"adherence.colour", 0.98}, {"retention.identification", 0.6}};
  return run;
}

std::vector<RunTrace> three_runs() {
  return {trace_of(run_of(1)), trace_of(run_of(2)), trace_of(run_of(3))};
}

TEST(RunTrace, StepsAreSharedByRunsOfAnyLength) {
  EXPECT_THAT(trace_steps(32), ElementsAre(8, 11, 16, 23, 32));
  EXPECT_THAT(trace_steps(33), ElementsAre(8, 11, 16, 23, 33));      // 1 of 13: joins
  EXPECT_THAT(trace_steps(40), ElementsAre(8, 11, 16, 23, 32, 40));  // 8 of 13: stands
  EXPECT_THAT(trace_steps(3), ElementsAre(3));
}

TEST(RunTrace, PointsAreMeansOverTheirIntervals) {
  RunContents run;
  run.metrics["loss"] = {{1, 2, 3, 8, 9, 12}, {1, 2, 3, 6, 10, 20}};
  run.metrics["lr"] = {{1}, {0.1}};
  const RunTrace trace = trace_of(run);
  ASSERT_EQ(trace.curves.size(), 1u);  // the rate is no result
  EXPECT_EQ(trace.last_step, 12);
  const TraceCurve& loss = trace.curves.at("loss");
  ASSERT_EQ(loss.size(), 2u);  // 12 is 1 of 5 into the third interval: it joins the second
  EXPECT_EQ(loss[0].until, 8);
  EXPECT_DOUBLE_EQ(loss[0].mean, 3.0);
  EXPECT_EQ(loss[1].until, 12);
  EXPECT_DOUBLE_EQ(loss[1].mean, 15.0);
}

TEST(ReferenceTrace, OtherSeedsAreHealthy) {
  const ReferenceTrace reference = make_reference(three_runs());
  for (unsigned seed = 10; seed < 30; ++seed) {
    const ReferenceVerdict verdict = judge(trace_of(run_of(seed)), reference);
    const BandVerdict* first = verdict.first_outside();
    EXPECT_TRUE(verdict.healthy()) << "seed " << seed << " in " << (first ? first->name : "");
  }
}

TEST(ReferenceTrace, ALossTwiceAsHighIsOutsideAndSaysWhere) {
  const ReferenceTrace reference = make_reference(three_runs());
  // Healthy until step 500, then its loss stays twice as high.
  RunContents run = run_of(10);
  MetricSeries& loss = run.metrics["loss"];
  for (size_t i = 0; i < loss.steps.size(); ++i) {
    if (loss.steps[i] > 500) loss.values[i] *= 2;
  }
  const RunTrace trace = trace_of(run);
  const ReferenceVerdict verdict = judge(trace, reference);
  EXPECT_FALSE(verdict.healthy());
  ASSERT_NE(verdict.first_outside(), nullptr);
  EXPECT_EQ(verdict.first_outside()->name, "loss");
  EXPECT_EQ(verdict.first_outside()->band.until, 724);  // the interval 513 to 724
  EXPECT_GT(*verdict.first_outside()->value, verdict.first_outside()->band.high);

  const std::string text = comparison_text(ReferenceCheck{trace, reference, "tf.json", verdict});
  EXPECT_THAT(text, HasSubstr("tf: outside, first in loss at step 724: "));
  EXPECT_THAT(text, HasSubstr("times the upper end of"));
}

TEST(ReferenceTrace, AStrayPointIsNoVerdict) {
  const ReferenceTrace reference = make_reference(three_runs());
  RunContents run = run_of(10);
  for (size_t i = 0; i < run.metrics["loss"].steps.size(); ++i) {
    const double step = run.metrics["loss"].steps[i];
    if (step > 128 && step <= 181) run.metrics["loss"].values[i] *= 3;
  }
  const ReferenceVerdict verdict = judge(trace_of(run), reference);
  EXPECT_TRUE(verdict.healthy());
  for (const BandVerdict& curve : verdict.curves) {
    EXPECT_EQ(curve.points_outside, curve.name == "loss" ? 1 : 0) << curve.name;
  }
}

TEST(ReferenceTrace, QualityIsOutsideOnlyWhereItIsWorse) {
  const ReferenceTrace reference = make_reference(three_runs());
  RunContents better = run_of(10), worse = run_of(10);
  better.summary["retention.identification"] = 0.95;
  worse.summary["retention.identification"] = 0.3;
  EXPECT_TRUE(judge(trace_of(better), reference).healthy());
  const ReferenceVerdict verdict = judge(trace_of(worse), reference);
  ASSERT_FALSE(verdict.healthy());
  EXPECT_EQ(verdict.first_outside()->name, "retention.identification");
  // What was not measured is said, and no fault.
  worse.summary.erase("retention.identification");
  EXPECT_TRUE(judge(trace_of(worse), reference).healthy());
}

TEST(ReferenceTrace, AShorterRunIsJudgedAsFarAsItGoes) {
  const ReferenceTrace reference = make_reference(three_runs());
  RunContents run = run_of(10, 1, 700);
  run.summary["adherence.colour"] = 0.1;  // it has not learned it yet
  const ReferenceVerdict verdict = judge(trace_of(run), reference);
  EXPECT_TRUE(verdict.healthy());
  EXPECT_EQ(verdict.curves.back().name, "validation_loss");
  EXPECT_FALSE(judge(trace_of(run_of(10, 3, 700)), reference).healthy());
}

TEST(ReferenceTrace, SurvivesItsFile) {
  const ReferenceTrace made = make_reference(three_runs());
  const TemporaryFolder folder;
  const std::filesystem::path file = folder / "vmla_reference.json";
  io::write_file_atomically(file, reference_json(made));
  const ReferenceTrace read = read_reference(file);
  EXPECT_EQ(reference_json(read), reference_json(made));
  EXPECT_EQ(read.runs, 3);
  EXPECT_FALSE(read.settings.contains("seed"));
  EXPECT_EQ(read.settings.at("optimizer.lr"), "0.003");

  std::string text = reference_json(made);
  io::write_file_atomically(file, text.substr(0, text.size() / 2));
  EXPECT_THAT(error_of<UserError>([&] { read_reference(file); }),
              HasSubstr("is not a reference trace"));
  text.replace(text.find("\"until\""), 7, "\"untie\"");
  io::write_file_atomically(file, text);
  EXPECT_THAT(error_of<UserError>([&] { read_reference(file); }), HasSubstr("until"));
}

TEST(ReferenceTrace, RefusesRunsThatDoNotBelongTogether) {
  std::vector<RunTrace> runs = three_runs();
  EXPECT_THAT(error_of<UserError>([&] { make_reference({runs[0]}); }),
              HasSubstr("two runs or more"));
  runs[2] = trace_of(run_of(3, 1, 1000));
  EXPECT_THAT(error_of<UserError>([&] { make_reference(runs); }), HasSubstr("with 1000"));
  const ReferenceTrace reference = make_reference({runs[0], runs[1]});
  runs[2].objective = "dmd";
  EXPECT_THAT(error_of<UserError>([&] { judge(runs[2], reference); }),
              HasSubstr("was trained by dmd"));
  runs[2] = trace_of(run_of(3, 1, 3));
  EXPECT_THAT(error_of<UserError>([&] { judge(runs[2], reference); }),
              HasSubstr("no point in common"));
}

TEST(Comparison, TwoRunsSideBySide) {
  RunContents b = run_of(2, 2);
  b.config["optimizer.lr"] = "0.006";
  const RunPair pair{trace_of(run_of(1)), trace_of(b)};
  const std::string text = comparison_text(pair);
  EXPECT_THAT(text, HasSubstr("optimizer.lr: 0.003 | 0.006"));
  EXPECT_THAT(text, HasSubstr("grad_norm"));
  EXPECT_THAT(text, HasSubstr("adherence.colour"));
  EXPECT_THAT(text, Not(HasSubstr("drift.score")));  // neither has one

  const TemporaryFolder folder;
  const std::filesystem::path out = folder / "out";
  write_comparison(std::vector<RunPair>{pair}, out);
  const std::string csv = io::read_text_file(out / "comparison.csv");
  EXPECT_THAT(csv, HasSubstr("stage,figure,until,a,b\n"));
  EXPECT_THAT(csv, HasSubstr("tf,loss,2000,"));
  EXPECT_THAT(csv, HasSubstr("tf,adherence.colour,end,0.98,0.98"));
  EXPECT_THAT(io::read_text_file(out / "comparison.html"), HasSubstr("<svg"));
}

TEST(RunTrace, RefusesWhatIsNoRun) {
  const TemporaryFolder temporary;
  const std::filesystem::path folder = temporary / "no_run";
  EXPECT_THAT(error_of<UserError>([&] { read_trace(folder); }), HasSubstr("is not a run folder"));
  std::filesystem::create_directories(folder);
  EXPECT_THAT(error_of<UserError>([&] { read_trace(folder); }), HasSubstr("no metrics.jsonl"));
  const auto write = [&](const char* name, const std::string& text) {
    write_bytes(folder / name, text);
  };
  write("config.yaml", "objective: {name: dmd}\n");
  write("metrics.jsonl", "");
  EXPECT_THAT(error_of<UserError>([&] { read_trace(folder); }), HasSubstr("no step with a loss"));
  write("metrics.jsonl", "{\"step\":1,\"loss\":2}\n{\"step\":2,\"lo");
  EXPECT_THAT(error_of<UserError>([&] { read_trace(folder); }), HasSubstr("line 2 is damaged"));
  write("metrics.jsonl", "{\"step\":1,\"loss\":2}\n");
  EXPECT_EQ(read_trace(folder).objective, "dmd");
  write("config.yaml", "stage: x\n");
  EXPECT_THAT(error_of<UserError>([&] { read_trace(folder); }), HasSubstr("objective.name"));
}

}  // namespace
}  // namespace vmla::analysis
