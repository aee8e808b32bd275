#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <map>

#include "tests/trainer/objectives/chi_square.h"
#include "tests/trainer/objectives/small_dmd.h"
#include "tests/trainer/small_networks.h"
#include "trainer/objectives/objective.h"

namespace vmla::trainer {
namespace {

/// Ranks draw by themselves: what all samples of a step share must not depend on which of them a
/// rank has.
TEST(DmdDraws, AgreeOnOneExitStepAndRolloutLengthWhateverTheSplit) {
  DmdConfig config;
  config.max_rollout_frames = 12;
  config.first_chunk_denoising_step_list = {1000, 500};
  const auto objective = dmd(config);
  for (int64_t step = 0; step < 20; ++step) {
    const auto draws = [&](const char* player, int64_t first, int64_t batch) {
      return objective->draws(
          player, kClip, {.seed = 3, .step = step, .first_sample = first, .batch = batch});
    };
    const auto whole = draws("generator", 0, 4), tail = draws("generator", 2, 2);
    for (const char* name : {"exit_index", "first_chunk_exit_index"})
      EXPECT_TRUE(at::equal(whole.at(name), tail.at(name))) << name;
    EXPECT_EQ(whole.at("rollout_noise").size(1), tail.at("rollout_noise").size(1));
  }
}

TEST(DmdDraws, OfAMicroBatchAreThoseOfTheBatch) {
  DmdConfig config = long_rollouts("all");
  config.context_noise = 30;
  for (const DmdConfig& c : {DmdConfig{}, config}) {
    const auto objective = dmd(c);
    const auto whole =
        objective->draws("generator", kClip, {.seed = 3, .step = 5, .first_sample = 0, .batch = 4});
    const auto tail =
        objective->draws("generator", kClip, {.seed = 3, .step = 5, .first_sample = 2, .batch = 2});
    const bool windows = c.max_rollout_frames > 0;
    for (const auto& [name, tensor] : whole) {
      if (tensor.dim() == 0) continue;  // one for all samples
      const bool second = name == "renoise" || (windows && (name == "tau" || name == "noise"));
      EXPECT_TRUE(at::equal(tensor.narrow(second ? 1 : 0, 2, 2), tail.at(name))) << name;
    }
    // The players of a step roll out on noise of their own.
    const auto critic = objective->draws(
        "fake_score", kClip, {.seed = 3, .step = 5, .first_sample = 0, .batch = 4});
    for (const char* name : {"rollout_noise", "renoise", "noise", "tau"})
      EXPECT_FALSE(at::equal(whole.at(name), critic.at(name))) << name;
  }
}

TEST(DmdDraws, ExitAtEveryStepAlikeOrAtTheLastOnly) {
  constexpr ClipShape kOne{2, 1, 1, 1};
  constexpr int64_t kDraws = 4000;
  for (const bool last_only : {false, true}) {
    DmdConfig config;
    config.last_step_only = last_only;
    config.first_chunk_denoising_step_list = {1000, 500};
    const auto objective = make_objective(config, small_model("mla"));
    std::map<int64_t, int64_t> exits, first_exits, together;
    for (int64_t step = 0; step < kDraws; ++step) {
      const auto draws = objective->draws(
          step % 5 == 0 ? "generator" : "fake_score", kOne, {.seed = 1, .step = step, .batch = 1});
      const int64_t exit = draws.at("exit_index").item<int64_t>();
      const int64_t first = draws.at("first_chunk_exit_index").item<int64_t>();
      ++exits[exit];
      ++first_exits[first];
      ++together[2 * exit + first];
    }
    if (last_only) {
      EXPECT_EQ(exits, (std::map<int64_t, int64_t>{{3, kDraws}}));
      EXPECT_EQ(first_exits, (std::map<int64_t, int64_t>{{1, kDraws}}));
    } else {
      EXPECT_LT(chi_square(exits, 4, kDraws), chi_square_bound(4));
      EXPECT_LT(chi_square(first_exits, 2, kDraws), chi_square_bound(2));
      EXPECT_LT(chi_square(together, 8, kDraws), chi_square_bound(8));  // independent of each other
    }
  }
}

TEST(DmdDraws, RollOutEveryAllowedLengthAlike) {
  DmdConfig config;
  config.max_rollout_frames = 12;
  const auto objective = make_objective(config, small_model("mla"));
  std::map<int64_t, int64_t> lengths;
  for (int64_t step = 0; step < 1000; ++step) {
    ++lengths[objective->draws("generator", {6, 1, 1, 1}, {.seed = 1, .step = step, .batch = 1})
                  .at("rollout_noise")
                  .size(1)];
  }
  ASSERT_EQ(lengths.begin()->first, 6);
  ASSERT_EQ(lengths.rbegin()->first, 12);
  EXPECT_LT(chi_square(lengths, 4, 1000), chi_square_bound(4));  // 6, 8, 10, 12: whole chunks
}

TEST(DmdDraws, ScoreTimesKeepTheirLeast) {
  DmdConfig config;
  config.min_score_timestep = 600;
  const auto objective = make_objective(config, small_model("mla"));
  const at::Tensor tau =
      objective->draws("generator", {2, 1, 1, 1}, {.seed = 1, .step = 0, .batch = 4000}).at("tau");
  EXPECT_GE(tau.min().item<int64_t>(), 600);
  EXPECT_LE(tau.max().item<int64_t>(), 999);
  // Uniform on 400 integers: mean 799.5, deviation 115.5 / sqrt(4000) = 1.83; six of them.
  EXPECT_NEAR(tau.to(at::kDouble).mean().item<double>(), 799.5, 11);
}

}  // namespace
}  // namespace vmla::trainer
