// Which stages of which cells are one and the same.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "tests/trainer/sweep/sweep_case.h"

namespace vmla::trainer {
namespace {

using ::testing::SizeIs;
using ::testing::StartsWith;

class SweepPlans : public testing::SweepCase {};

TEST_F(SweepPlans, StagesOfEqualConfigurationAndOriginRunOnce) {
  const SweepPlan runs = plan(read("seeds: [0, 1]\ngrid:\n  tf.model.kv_lora_rank: [4, 8, 24]\n"));
  EXPECT_THAT(runs.runs, SizeIs(6));
  // One `zero` a seed, and a `tf` a run.
  EXPECT_THAT(runs.stages.stages, SizeIs(2 + 6));
  const PipelineStage& zero = runs.stages.stages[0];
  EXPECT_THAT(zero.name, StartsWith("zero-"));
  EXPECT_EQ(zero.label, "seed_0/zero");
  EXPECT_EQ(zero.run_dir, run_dir() / "stages" / zero.name);
  EXPECT_THAT(runs.users_of(zero.name), SizeIs(3));
  const PipelineStage& tf = runs.stages.stages[1];
  EXPECT_EQ(tf.label, "kv_lora_rank=4/seed_0/tf");
  EXPECT_EQ(tf.after, std::vector<std::string>{zero.name});
  EXPECT_EQ(tf.config.init_from.at("generator").path, zero.run_dir.string());
  EXPECT_EQ(tf.config.init_from.at("generator").stage, "zero");
  EXPECT_EQ(tf.config.model.kv_lora_rank.values[0], 4);
  EXPECT_EQ(runs.runs[0].pipeline.stages[1].run_dir, run_dir() / "cells/kv_lora_rank=4/seed_0/tf");
}

TEST_F(SweepPlans, EveryStageOfARunHasItsSeedUnlessTheFileFixesIt) {
  SweepPlan runs = plan(read("seeds: [3, 5]\n"));
  for (const PipelineStage& stage : runs.runs[1].pipeline.stages) EXPECT_EQ(stage.config.seed, 5);
  runs = plan(read("seeds: [3, 5]\nset: {zero: {seed: 0}}\n"));
  EXPECT_EQ(runs.runs[1].pipeline.stages[0].config.seed, 0);
  EXPECT_EQ(runs.runs[1].pipeline.stages[1].config.seed, 5);
  EXPECT_THAT(runs.stages.stages, SizeIs(1 + 2));  // one pretrained model for both seeds
  EXPECT_EQ(runs.stages.stages[0].label, "all/zero");
}

TEST_F(SweepPlans, ADifferenceAtTheBeginningReachesEveryStageBehindIt) {
  const SweepPlan runs = plan(read("seeds: [0]\ngrid:\n  zero.optimizer.lr: [1e-3, 2e-3]\n"));
  // The two `tf` have equal configurations, and start from different models.
  EXPECT_EQ(runs.runs[0].pipeline.stages[1].config.optimizer,
            runs.runs[1].pipeline.stages[1].config.optimizer);
  EXPECT_NE(runs.runs[0].shared[1], runs.runs[1].shared[1]);
  EXPECT_THAT(runs.stages.stages, SizeIs(4));
}

TEST_F(SweepPlans, AStagesFileCanBeSweptByItself) {
  const SweepPlan runs =
      plan(read("seeds: [0, 1]\ngrid:\n  optimizer.lr: [1e-3, 2e-3]\n", "dense.yaml"));
  EXPECT_THAT(runs.stages.stages, SizeIs(4));
  EXPECT_EQ(runs.runs[0].pipeline.run_dir, run_dir() / "cells/lr=1e-3/seed_0");
  EXPECT_EQ(runs.runs[0].pipeline.stages[0].run_dir, runs.runs[0].pipeline.run_dir);
  EXPECT_EQ(runs.stages.stages[0].label, "lr=1e-3/seed_0");
}

TEST_F(SweepPlans, RunsThatAreLeftOutTakeTheirStagesAlong) {
  SweepPlan runs = plan(read("seeds: [0, 1]\ngrid:\n  tf.model.kv_lora_rank: [4, 8, 24]\n"));
  leave_out(runs, [](const SweepRun& run) { return run.cell == 1; });
  EXPECT_THAT(runs.runs, SizeIs(4));
  EXPECT_THAT(runs.stages.stages, SizeIs(2 + 4));
}

TEST_F(SweepPlans, AHashIsOfWhatDecidesTheResult) {
  const TrainConfig base = plan(read("seeds: [0]\n")).runs[0].pipeline.stages[1].config;
  const std::string hash = stage_hash(base, {{"zero", "a"}});
  EXPECT_THAT(hash, SizeIs(64));
  std::set<std::string> others = {hash};
  const auto other = [&](const auto& change) {
    TrainConfig config = base;
    change(config);
    return stage_hash(config, {{"zero", "a"}});
  };
  EXPECT_EQ(other([](auto& c) { c.train.threads = 3; }), hash);
  EXPECT_EQ(other([](auto& c) { c.train.log_every = 3; }), hash);
  // The folder of a stage of the sweep may be moved; what lies in it is the upstream hash.
  EXPECT_EQ(other([](auto& c) { c.init_from["generator"].path = "elsewhere"; }), hash);
  EXPECT_TRUE(others.insert(stage_hash(base, {{"zero", "b"}})).second);
  EXPECT_TRUE(others.insert(other([](auto& c) { c.seed = 1; })).second);
  EXPECT_TRUE(others.insert(other([](auto& c) { c.train.steps += 1; })).second);
  EXPECT_TRUE(others.insert(other([](auto& c) { c.validation.every += 1; })).second);
  EXPECT_TRUE(others.insert(other([](auto& c) { c.stage = "x"; })).second);
  EXPECT_TRUE(others.insert(other([](auto& c) { c.data.path = "y"; })).second);
  // A source outside the sweep counts by its path.
  const auto foreign = [&](const char* path) {
    TrainConfig config = base;
    config.init_from["generator"].path = path;
    return stage_hash(config, {});
  };
  EXPECT_NE(foreign("a"), foreign("b"));
}

}  // namespace
}  // namespace vmla::trainer
