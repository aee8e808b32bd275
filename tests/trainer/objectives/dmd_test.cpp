#include "trainer/objectives/objective.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "kernels/counter_rng/counter_rng.h"
#include "model/sampling/flow_match_schedule.h"
#include "model/sampling/self_rollout.h"
#include "tests/support/tensor_match.h"
#include "tests/trainer/objectives/small_dmd.h"
#include "tests/trainer/small_networks.h"

namespace vmla::trainer {
namespace {

constexpr DrawContext kContext{.seed = 3, .step = 5, .first_sample = 0, .batch = 2};

/// Student, real and fake score; the scores are wider and deeper than the student.
SmallNetworks three_networks(model::Recompute recompute = model::Recompute::kNone) {
  SmallNetworks networks;
  networks.add("generator", small_model("mla"), {}, recompute);
  networks.add("real_score", small_score(), {}, recompute);
  networks.add("fake_score", small_score(), {}, recompute);
  return networks;
}

/// Guidance 0 and equal weights: both scores do the same sums, and no bit of the student moves.
TEST(Dmd, GradientIsZeroWhenTheScoresAgree) {
  SmallNetworks networks;
  networks.add("generator", small_model("mla"));
  for (const char* score : {"real_score", "fake_score"})
    networks.add(score, small_score(), small_weights(small_score(), 1));
  DmdConfig config;
  config.guidance_scale = 0;
  for (const char* kv_grad : {"detached", "straight_through"}) {
    config.kv_grad = kv_grad;
    const auto objective = dmd(config);
    networks.zero_gradients();
    const auto inputs = small_inputs(*objective, "generator", kClip, kContext);
    const Evaluated done = evaluate_small(*objective, "generator", inputs, networks);
    EXPECT_EQ(done.loss, 0);
    EXPECT_TRUE(tests::same_bits(done.details.at("d_fake"), done.details.at("d_real")));
    for (const auto& [name, gradient] : networks.gradients("generator"))
      EXPECT_EQ(gradient.abs().max().item<double>(), 0) << name;
  }
}

/// D_c + g (D_c − D_u): with g = 0 the negative prompt plays no part, with g > 0 it does.
TEST(Dmd, GuidanceStartsAtTheConditionalScore) {
  const SmallNetworks networks = three_networks();
  std::map<double, at::Tensor> d_real;
  for (const double guidance : {0.0, 1.0, 3.0}) {
    DmdConfig config;
    config.guidance_scale = guidance;
    const auto objective = dmd(config);
    const auto inputs = small_inputs(*objective, "generator", kClip, kContext);
    d_real[guidance] =
        evaluate_small(*objective, "generator", inputs, networks, model::GradMode::kNone)
            .details.at("d_real");
  }
  EXPECT_GT((d_real[1] - d_real[0]).abs().max().item<double>(), 1e-6);
  // Linear in g; rounding of sums of values around 1.
  EXPECT_LT((d_real[3] - (d_real[0] + 3 * (d_real[1] - d_real[0]))).abs().max().item<double>(),
            1e-12);
}

/// The reference's loss 0.5 mean((x − stopgrad(x − g))²) is written down anew with x as the exit
/// passes replayed under other weights; g is what the objective reports. Central differences of
/// fourth order: a step of 2e-6 along a direction of some hundred weights leaves a truncation error
/// of its fourth power and rounding of 1e-15 / 2e-6 = 5e-10, below 1e-6 of a derivative of 6e-3.
TEST(Dmd, MovesTheRolloutByTheGradientOverItsSize) {
  SmallNetworks networks = three_networks();
  const DmdConfig config;
  const auto objective = dmd(config);
  const auto inputs = small_inputs(*objective, "generator", kClip, kContext);
  const Evaluated done = evaluate_small(*objective, "generator", inputs, networks);
  const at::Tensor& g = done.details.at("dmd_gradient");
  const double numel = static_cast<double>(g.numel());
  EXPECT_TRUE(tests::near_max(done.details.at("grad.rollout"), g / numel, 1e-14));
  EXPECT_NEAR(done.loss, 0.5 * g.square().mean().item<double>(), 1e-12);
  EXPECT_EQ(done.emissions, 3);  // one a chunk

  const model::ModelConfig student = small_model("mla");
  const auto steps = model::warped_step_list(config.denoising_step_list, config.timestep_shift);
  model::SelfRolloutRequest request;
  request.text_BTE = inputs.at("text");
  request.noise_BFCHW = inputs.at("rollout_noise");
  request.renoise_KBFCHW = inputs.at("renoise");
  request.schedule = {steps, inputs.at("exit_index").item<int64_t>()};
  request.first_schedule = request.schedule;
  model::PlanCache plans;
  const auto rollout =
      model::self_rollout(networks.table().at("generator").network, request, plans);
  EXPECT_TRUE(tests::same_bits(rollout.latents_BFCHW, done.details.at("rollout")));
  const at::Tensor aim = rollout.latents_BFCHW - g;
  const auto loss_at = [&](double h) {
    model::FrozenWeights weights(
        student,
        moved_along(small_weights(student, kernels::hash_role("generator")), h),
        "moved",
        at::kCPU,
        at::kDouble);
    std::vector<at::Tensor> parts;
    for (const model::ExitPass& pass : rollout.passes)
      parts.push_back(model::replay_exit_pass({student, weights}, pass, request.text_BTE, {}));
    return 0.5 * (at::cat(parts, 1) - aim).square().mean().item<double>();
  };
  EXPECT_NEAR(loss_at(0), done.loss, 1e-12);
  constexpr double kStep = 2e-6;
  const double near = loss_at(kStep) - loss_at(-kStep),
               far = loss_at(2 * kStep) - loss_at(-2 * kStep);
  const double numeric = (8 * near - far) / (12 * kStep);
  EXPECT_NEAR(along(networks.gradients("generator")), numeric, 1e-6 * std::abs(numeric));
}

/// The normaliser is each sample's own: a sample's gradient does not depend on its neighbours.
TEST(Dmd, NormalisesEverySampleByItself) {
  const SmallNetworks networks = three_networks();
  const auto objective = dmd({});
  const auto both = small_inputs(*objective, "generator", kClip, kContext);
  DrawContext second = kContext;
  second.first_sample = 1;
  second.batch = 1;
  const auto alone = small_inputs(*objective, "generator", kClip, second);
  const auto gradient = [&](const model::TensorMap& inputs) {
    return evaluate_small(*objective, "generator", inputs, networks, model::GradMode::kNone)
        .details.at("dmd_gradient");
  };
  // Matrix products of other sizes sum in another order: fp64 rounding through some ten passes.
  EXPECT_TRUE(tests::near_max(gradient(both)[1], gradient(alone)[0], 1e-10));
}

class DmdPlayer : public testing::TestWithParam<std::tuple<const char*, const char*, const char*>> {
 protected:
  DmdConfig config() const {
    const auto& [player, kv_grad, windows] = GetParam();
    DmdConfig config = std::string(windows) == "clip" ? DmdConfig{} : long_rollouts(windows);
    config.kv_grad = kv_grad;
    return config;
  }
  std::string player() const { return std::get<0>(GetParam()); }
};

/// The critic's step leaves the student alone and the other way round; nobody moves the real score.
TEST_P(DmdPlayer, AloneGetsGradients) {
  SmallNetworks networks = three_networks();
  const auto objective = dmd(config());
  const auto inputs = small_inputs(*objective, player(), kClip, kContext);
  evaluate_small(*objective, player(), inputs, networks);
  for (const char* role : {"generator", "real_score", "fake_score"}) {
    double largest = 0;
    for (const auto& [name, gradient] : networks.gradients(role))
      largest = std::max(largest, gradient.abs().max().item<double>());
    EXPECT_EQ(largest > 0, role == player()) << role;
  }
}

/// Draws of each half are those of the whole, and so are the sums: fp64 rounding in another order.
TEST_P(DmdPlayer, MicroBatchesAddUpToTheBatch) {
  SmallNetworks networks = three_networks();
  const auto objective = dmd(config());
  const auto sum = [&](int64_t micro) {
    networks.zero_gradients();
    double loss = 0;
    for (int64_t first = 0; first < 4; first += micro) {
      DrawContext part = kContext;
      part.first_sample = first;
      part.batch = micro;
      const auto inputs = small_inputs(*objective, player(), kClip, part);
      loss += evaluate_small(*objective,
                             player(),
                             inputs,
                             networks,
                             model::GradMode::kFull,
                             static_cast<double>(micro) / 4.0)
                  .loss;
    }
    return std::pair{loss, networks.gradients(player())};
  };
  const auto [whole_loss, whole] = sum(4);
  const auto [parts_loss, parts] = sum(1);
  EXPECT_NEAR(parts_loss, whole_loss, 1e-10 * whole_loss);
  for (const auto& [name, gradient] : whole)
    EXPECT_TRUE(tests::near_max(parts.at(name), gradient, 1e-9)) << name;
}

TEST_P(DmdPlayer, RecomputesToTheBit) {
  std::map<model::Recompute, std::map<std::string, at::Tensor>> gradients;
  for (const auto& [name, recompute] : model::kRecomputeNames) {
    SmallNetworks networks = three_networks(recompute);
    const auto objective = dmd(config());
    const auto inputs = small_inputs(*objective, player(), kClip, kContext);
    evaluate_small(*objective, player(), inputs, networks);
    gradients[recompute] = networks.gradients(player());
  }
  for (const auto& [name, gradient] : gradients[model::Recompute::kNone]) {
    for (const auto recompute : {model::Recompute::kSelective, model::Recompute::kBlock})
      EXPECT_TRUE(tests::same_bits(gradients[recompute].at(name), gradient)) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(All,
                         DmdPlayer,
                         testing::Values(std::tuple{"generator", "detached", "clip"},
                                         std::tuple{"generator", "straight_through", "clip"},
                                         std::tuple{"generator", "detached", "last"},
                                         std::tuple{"generator", "straight_through", "last"},
                                         std::tuple{"generator", "detached", "all"},
                                         std::tuple{"fake_score", "detached", "clip"},
                                         std::tuple{"fake_score", "detached", "last"},
                                         std::tuple{"fake_score", "detached", "all"}),
                         [](const auto& test) {
                           return std::string(std::get<0>(test.param)) + "_" +
                                  std::get<1>(test.param) + "_" + std::get<2>(test.param);
                         });

/// 14 frames in clips of six: the last window trains the last four, all windows train every frame.
TEST(Dmd, TrainsTheFramesOfItsWindows) {
  const SmallNetworks networks = three_networks();
  for (const char* windows : {"last", "all"}) {
    const auto objective = dmd(long_rollouts(windows));
    const auto inputs = small_inputs(*objective, "generator", kClip, kContext);
    const Evaluated done = evaluate_small(*objective, "generator", inputs, networks);
    const at::Tensor moved =
        done.details.at("grad.rollout").abs().amax({0, 2, 3, 4}).gt(0).to(at::kLong);
    const bool all = std::string(windows) == "all";
    EXPECT_EQ(moved.sum().item<int64_t>(), all ? 14 : 4);
    EXPECT_EQ(moved.narrow(0, 10, 4).sum().item<int64_t>(), 4);
    EXPECT_EQ(done.emissions, all ? 7 : 2);
  }
}

}  // namespace
}  // namespace vmla::trainer
