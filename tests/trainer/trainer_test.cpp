#include "trainer/trainer.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <limits>

#include "model/io/error.h"
#include "tests/support/temporary_folder.h"
#include "tests/trainer/small_stage.h"
#include "trainer/config/stage_roles.h"
#include "trainer/telemetry/metrics.h"

namespace vmla::trainer {
namespace {

using testing::HasSubstr;
using Weights = std::map<std::string, at::Tensor>;

void expect_equal(const Weights& a, const Weights& b) {
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [name, tensor] : a) EXPECT_TRUE(at::equal(tensor, b.at(name))) << name;
}

bool equal(const Weights& a, const Weights& b) {
  return std::ranges::all_of(
      a, [&](const auto& named) { return at::equal(named.second, b.at(named.first)); });
}

/// The weights of `role` after training `config` to its last step in `run_dir`.
Weights trained(const TrainConfig& config,
                const std::filesystem::path& run_dir,
                const std::string& role = "generator") {
  SmallStage stage(config);
  Profiler profiler(0, "");
  stage.trainer(run_dir)->run(profiler);
  return stage.weights(role);
}

class EveryObjective : public testing::TestWithParam<const char*> {};

TEST_P(EveryObjective, ChangesTheGeneratorAndTheSameRunChangesItTheSame) {
  const TemporaryFolder folder;
  const TrainConfig config = small_stage(folder.path(), GetParam());
  const Weights before = SmallStage(config).weights("generator");
  const Weights once = trained(config, folder / "once");
  EXPECT_FALSE(equal(before, once));
  expect_equal(once, trained(config, folder / "twice"));
}

// What needs another stage's weights, or states of ODE paths, is trained by the Python tests.
INSTANTIATE_TEST_SUITE_P(All,
                         EveryObjective,
                         testing::Values("flow_matching", "diffusion_forcing", "teacher_forcing"));

TEST(Trainer, ResumedRunEqualsAnUninterruptedOne) {
  const TemporaryFolder folder;
  TrainConfig config = small_stage(folder.path(), "teacher_forcing");
  config.ema.decay = 0.5;
  config.train.steps = 5;
  const Weights whole = trained(config, folder / "whole");
  const Weights average = trained(config, folder / "average", "generator_ema");

  TrainConfig first = config;
  first.train.steps = 3;
  trained(first, folder / "parts");
  SmallStage stage(config);
  const TrainState state = stage.resume(folder / "parts");
  EXPECT_EQ(state.step, 3);
  EXPECT_EQ(state.samples_seen, 3 * config.train.batch_size);
  Profiler profiler(0, "");
  const auto trainer = stage.trainer(folder / "parts", state);
  trainer->run(profiler);
  EXPECT_EQ(trainer->state().step, 5);
  expect_equal(whole, stage.weights("generator"));
  expect_equal(average, stage.weights("generator_ema"));
}

TEST(Trainer, ObserversDoNotDisturb) {
  const TemporaryFolder folder;
  TrainConfig config = small_stage(folder.path(), "teacher_forcing");
  const Weights alone = trained(config, folder / "alone");
  config.rank.every = 1;
  config.validation.every = 1;
  config.validation.clips = 4;
  config.data.validation_path = config.data.path;
  config.checkpoint.every = 1;
  config.data.loader_threads = 2;
  config.train.recompute = "block";
  expect_equal(alone, trained(config, folder / "watched"));
  EXPECT_TRUE(std::filesystem::exists(folder / "watched" / "rank.h5"));
  EXPECT_TRUE(newest_metrics(folder / "watched").contains("validation_loss"));
}

TEST(Trainer, MicroBatchesAddUpToTheBatch) {
  const TemporaryFolder folder;
  TrainConfig config = small_stage(folder.path(), "teacher_forcing");
  config.train.precision = "fp64";
  const Weights halves = trained(config, folder / "halves");
  config.train.micro_batch_size = 4;
  const Weights whole = trained(config, folder / "whole");
  for (const auto& [name, tensor] : whole) {
    // Sums of four clips in another order, over four updates in fp64.
    EXPECT_TRUE(at::allclose(tensor, halves.at(name), 1e-9, 1e-12)) << name;
  }
}

TEST(Trainer, AMovingAverageFollowsFromItsFirstStepOn) {
  const TemporaryFolder folder;
  TrainConfig config = small_stage(folder.path(), "flow_matching");
  config.ema.decay = 0.75;
  config.ema.start_step = config.train.steps - 1;
  SmallStage stage(config);
  Profiler profiler(0, "");
  TrainConfig until = config;
  until.train.steps = config.train.steps - 1;
  // Until start_step the average is a copy.
  const Weights copy = trained(until, folder / "until", "generator_ema");
  expect_equal(copy, trained(until, folder / "until_again", "generator"));
  stage.trainer(folder / "run")->run(profiler);
  const Weights average = stage.weights("generator_ema"), last = stage.weights("generator");
  for (const auto& [name, tensor] : average) {
    const at::Tensor expected = 0.75 * copy.at(name) + 0.25 * last.at(name);
    // One multiplication and one addition in fp32.
    EXPECT_TRUE(at::allclose(tensor, expected, 1e-6, 1e-7)) << name;
  }
}

TEST(Trainer, EveryAverageOfAPlayerFollows) {
  const TemporaryFolder folder;
  TrainConfig config = small_stage(folder.path(), "flow_matching");
  config.ema.decay = 0.75;
  std::vector<Role> roles = stage_roles(config);
  roles.push_back({.name = "copy", .training = Training::kEmaOf, .ema_of = "generator"});
  SmallStage stage(config);
  stage.roles = build_roles(config, roles, nullptr, stage.mesh);
  Profiler profiler(0, "");
  stage.trainer(folder / "run")->run(profiler);
  expect_equal(stage.weights("copy"), stage.weights("generator"));
  EXPECT_FALSE(equal(stage.weights("generator_ema"), stage.weights("generator")));
}

/// Expects copies of this role, those of its masters, and none of other roles.
void expect_copies(const SmallStage& stage, const std::string& of) {
  for (const RoleState& state : stage.roles.states) {
    if (!state.weights) continue;
    for (const int64_t unit : state.weights->units()) {
      const at::Tensor copy = state.weights->compute_copy(unit);
      ASSERT_EQ(copy.defined(), state.role.name == of) << state.role.name;
      if (copy.defined()) {
        EXPECT_TRUE(at::equal(copy, state.weights->master(unit).to(at::kBFloat16)));
      }
    }
  }
}

TEST(Trainer, CopiesInBf16AreThoseOfTheMastersWhateverIsObserved) {
  const TemporaryFolder folder;
  TrainConfig config = small_stage(folder.path(), "teacher_forcing");
  config.train.precision = "bf16";
  config.ema.decay = 0.5;
  SmallStage plain(config);
  Profiler profiler(0, "");
  plain.trainer(folder / "plain")->run(profiler);
  expect_copies(plain, "generator");
  config.validation.every = 1;
  config.validation.clips = 4;
  config.data.validation_path = config.data.path;
  SmallStage watched(config);
  watched.trainer(folder / "watched")->run(profiler);
  expect_copies(watched, "generator_ema");
  for (const char* role : {"generator", "generator_ema"})
    expect_equal(plain.weights(role), watched.weights(role));
}

TEST(Trainer, ALossThatIsNotFiniteChangesNothing) {
  const TemporaryFolder folder;
  const TrainConfig config = small_stage(folder.path(), "flow_matching");
  SmallStage stage(config);
  model::TrainedWeights& weights = *stage.roles.at("generator").weights;
  weights.tensors_of(model::kRootUnit)
      .at("head.head.bias")
      .fill_(std::numeric_limits<float>::quiet_NaN());
  weights.drop_copies();
  const Weights before = stage.weights("generator");
  Profiler profiler(0, "");
  const auto trainer = stage.trainer(folder / "run");
  const std::string message = error_of<RunError>([&] { trainer->run(profiler); });
  EXPECT_THAT(message, HasSubstr("step 1: generator has loss nan"));
  EXPECT_THAT(message, HasSubstr("Lower optimizer.lr or look at the data"));
  for (const auto& [name, tensor] : stage.weights("generator")) {
    EXPECT_TRUE(at::equal(tensor, before.at(name)) || name == "head.head.bias") << name;
  }
}

TEST(Trainer, ASignalEndsTheRunAfterTheStepAndSavesIt) {
  const TemporaryFolder folder;
  const TrainConfig config = small_stage(folder.path(), "flow_matching");
  SmallStage stage(config);
  Profiler profiler(0, "");
  const auto trainer = stage.trainer(folder / "run");
  const auto interrupt = [](int64_t step) {
    if (step == 2) std::raise(SIGTERM);
  };
  const std::string message = error_of<StopRequested>([&] { trainer->run(profiler, interrupt); });
  EXPECT_THAT(message, HasSubstr("SIGTERM: saved step 2 of 4"));
  SmallStage again(config);
  EXPECT_EQ(again.resume(folder / "run").step, 2);
  expect_equal(stage.weights("generator"), again.weights("generator"));
}

TEST(Trainer, LogsEveryStepAndCutsBackOnResume) {
  const TemporaryFolder folder;
  TrainConfig config = small_stage(folder.path(), "flow_matching");
  config.checkpoint.every = 2;
  trained(config, folder / "run");
  const std::string log = file_bytes(folder / "run" / "metrics.jsonl");
  EXPECT_EQ(std::ranges::count(log, '\n'), 4);
  const auto newest = newest_metrics(folder / "run");
  for (const char* name : {"loss", "grad_norm", "lr", "time_step", "tokens_per_second", "tflops"})
    EXPECT_TRUE(newest.contains(name)) << name;
  // What the phases multiply is all that the step does.
  const auto done = [&](const std::string& phase) {
    return newest.at("tflops_" + phase) * newest.at("time_" + phase);
  };
  const double step = newest.at("tflops") * newest.at("time_step");
  EXPECT_NEAR(done("backward") / done("forward"), 2, 1e-9);
  EXPECT_NEAR((done("forward") + done("backward")) / step, 1, 1e-9);
  EXPECT_NEAR(newest.at("mfu_forward") / newest.at("mfu"),
              newest.at("tflops_forward") / newest.at("tflops"),
              1e-9);
  SmallStage stage(config);
  stage.trainer(folder / "run", {.step = 2, .samples_seen = 8});
  EXPECT_EQ(std::ranges::count(file_bytes(folder / "run" / "metrics.jsonl"), '\n'), 2);
}

}  // namespace
}  // namespace vmla::trainer
