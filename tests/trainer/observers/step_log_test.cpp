#include "trainer/observers/step_log.h"

#include <gtest/gtest.h>

#include "tests/support/temporary_folder.h"
#include "trainer/telemetry/metrics.h"

namespace vmla::trainer {
namespace {

/// A step in which the critic alone was updated: its rollout and its forward count, the generator's
/// do not.
TEST(StepLog, RatesAreOfThePlayersThatWereUpdated) {
  const TemporaryFolder folder;
  TrainConfig config;
  config.objective.name = "dmd";
  config.train.batch_size = 2;
  StepFigures figures;
  StepLog log(config, folder.path(), 0, 1, figures);
  figures.seconds = 4;
  figures.phase_seconds = {{"data", 1}, {"rollout", 2}, {"forward", 0.5}};
  figures.players["generator"].updated = false;
  figures.players["fake_score"] = {
      .loss = 1, .grad_norm = 1, .lr = 1, .metrics = {}, .updated = true};
  const ClipWork work{.tokens = 10,
                      .parts = {{"rollout", "generator", 100e12},
                                {"scores", "generator", 100e12},
                                {"rollout", "fake_score", 4e12},
                                {"forward", "fake_score", 1e12}}};
  log.record(1, figures, work, {}, false);
  const auto newest = newest_metrics(folder.path());
  EXPECT_DOUBLE_EQ(newest.at("tflops"), 2 * 5.0 / 4);
  EXPECT_DOUBLE_EQ(newest.at("tflops_rollout"), 2 * 4.0 / 2);
  EXPECT_DOUBLE_EQ(newest.at("tflops_forward"), 2 * 1.0 / 0.5);
  EXPECT_DOUBLE_EQ(newest.at("time_rollout"), 2);
  EXPECT_DOUBLE_EQ(newest.at("tokens_per_second"), 5);
  EXPECT_DOUBLE_EQ(newest.at("mfu_rollout") / newest.at("mfu"), 4 / 2.5);
  EXPECT_FALSE(newest.contains("tflops_scores"));
  EXPECT_FALSE(newest.contains("loss"));
}

}  // namespace
}  // namespace vmla::trainer
