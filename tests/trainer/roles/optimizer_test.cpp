#include "trainer/roles/optimizer.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/support/tensor_match.h"

namespace vmla::trainer {
namespace {

model::ModelConfig small_model() {
  model::ModelConfig config;
  config.dim = 8;
  config.ffn_dim = 16;
  config.num_heads = 2;
  config.num_layers = 2;
  config.in_dim = config.out_dim = 3;
  config.freq_dim = 4;
  config.text_dim = 5;
  config.text_len = 3;
  return config;
}

model::TrainedWeights small_weights(at::ScalarType compute = at::kFloat) {
  const auto config = small_model();
  return {config, model::random_weights(config, 1), "test", at::kCPU, compute};
}

/// Gradients that differ from unit to unit and element to element.
void fill_gradients(model::TrainedWeights& weights) {
  for (int64_t unit : weights.units()) {
    at::Tensor& gradient = weights.gradient(unit);
    gradient.copy_(at::linspace(-1.0, 0.5 + static_cast<double>(unit), gradient.numel()));
  }
}

TEST(LearningRate, WarmsUpThenDecaysLinearlyToTheLastStep) {
  OptimizerConfig config;
  config.lr = 2.0;
  config.lr_schedule = "linear";
  config.warmup_steps = 4;
  config.min_lr_ratio = 0.1;
  EXPECT_DOUBLE_EQ(learning_rate(config, 0, 14), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate(config, 3, 14), 2.0);
  EXPECT_DOUBLE_EQ(learning_rate(config, 4, 14), 2.0);
  EXPECT_NEAR(learning_rate(config, 9, 14), 2.0 * (0.1 + 0.9 * 0.5), 1e-15);
  EXPECT_NEAR(learning_rate(config, 14, 14), 0.2, 1e-15);
}

TEST(LearningRate, CosineAndConstant) {
  OptimizerConfig config;
  config.lr = 1.0;
  EXPECT_DOUBLE_EQ(learning_rate(config, 7, 10), 1.0);
  config.lr_schedule = "cosine";
  EXPECT_NEAR(learning_rate(config, 5, 10), 0.5, 1e-15);
  EXPECT_NEAR(learning_rate(config, 10, 10), 0.0, 1e-15);
}

TEST(LearningRate, AScheduleOfItsOwnLengthKnowsNothingOfTheStages) {
  OptimizerConfig config;
  config.lr = 1.0;
  config.lr_schedule = "cosine";
  config.min_lr_ratio = 0.2;
  config.schedule_steps = 10;
  OptimizerConfig of_stage = config;
  of_stage.schedule_steps = 0;
  for (const int64_t step : {0, 3, 9, 10})
    EXPECT_EQ(learning_rate(config, step, 50), learning_rate(of_stage, step, 10));
  EXPECT_NEAR(learning_rate(config, 30, 50), 0.2, 1e-15);  // it stays where it has ended
}

TEST(GradientNorm, IsTheNormOverAllUnits) {
  auto weights = small_weights();
  fill_gradients(weights);
  double sum = 0;
  for (const auto& [name, gradient] : weights.gradients())
    sum += gradient.to(at::kDouble).square().sum().item<double>();
  // fp32 sums of squares over n elements err by about n eps / 2 at the very worst, far less
  // pairwise.
  EXPECT_NEAR(std::sqrt(squared_gradient_norm(weights).item<double>()),
              std::sqrt(sum),
              1e-5 * std::sqrt(sum));
}

TEST(ClipFactor, BringsTheNormDownAndPassesOnWhatIsNotFinite) {
  const auto factor = [](double norm, double loss, double max_norm) {
    return clip_factor(
               at::scalar_tensor(norm, at::kDouble), at::scalar_tensor(loss, at::kDouble), max_norm)
        .item<double>();
  };
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(factor(5.0, 1.0, 10.0), 1.0);
  EXPECT_EQ(factor(20.0, 1.0, 10.0), 0.5);
  EXPECT_EQ(factor(20.0, 1.0, 0.0), 1.0);
  EXPECT_EQ(factor(0.0, 1.0, 10.0), 1.0);
  for (const double max_norm : {0.0, 10.0}) {
    EXPECT_FALSE(std::isfinite(factor(kNan, 1.0, max_norm)));
    EXPECT_FALSE(std::isfinite(factor(std::numeric_limits<double>::infinity(), 1.0, max_norm)));
    EXPECT_FALSE(std::isfinite(factor(1.0, kNan, max_norm)));
  }
}

/// Three steps of decoupled AdamW against the formula in fp64.
void expect_adamw(double beta1) {
  OptimizerConfig config;
  config.betas = {beta1, 0.9};
  config.weight_decay = 0.1;
  auto weights = small_weights();
  AdamW optimizer(config, weights);
  EXPECT_EQ(optimizer.state(weights).count("exp_avg/head.head.weight"), beta1 != 0 ? 1u : 0u);
  std::map<int64_t, at::Tensor> expected, first, second;
  for (int64_t unit : weights.units()) {
    expected[unit] = weights.master(unit).to(at::kDouble);
    first[unit] = at::zeros_like(expected[unit]);
    second[unit] = at::zeros_like(expected[unit]);
  }
  constexpr double kLr = 1e-2, kScale = 0.5;
  for (int64_t step = 1; step <= 3; ++step) {
    fill_gradients(weights);
    optimizer.step(weights, kLr, at::scalar_tensor(kScale, at::kFloat));
    for (int64_t unit : weights.units()) {
      const at::Tensor g = weights.gradient(unit).to(at::kDouble) * kScale;
      first[unit] = beta1 * first[unit] + (1 - beta1) * g;
      second[unit] = 0.9 * second[unit] + 0.1 * g.square();
      const at::Tensor m = first[unit] / (1 - std::pow(beta1, step));
      const at::Tensor v = second[unit] / (1 - std::pow(0.9, step));
      expected[unit] = expected[unit] * (1 - kLr * 0.1) - kLr * m / (v.sqrt() + config.eps);
    }
  }
  for (int64_t unit : weights.units()) {
    // A few roundings of values of order one a step, in fp32.
    EXPECT_LT((weights.master(unit).to(at::kDouble) - expected[unit]).abs().max().item<double>(),
              2e-6);
  }
}

TEST(AdamW, FollowsTheFormulaWithAFirstMoment) {
  expect_adamw(0.8);
}
TEST(AdamW, KeepsNoFirstMomentAtBetaZero) {
  expect_adamw(0.0);
}

model::TrainedWeights average_weights(at::ScalarType compute) {
  const auto config = small_model();
  return {
      config, model::random_weights(config, 2), "average", at::kCPU, compute, at::kFloat, false};
}

TEST(AdamW, AnAverageInItsPassIsTheOneThatFollows) {
  OptimizerConfig config;
  for (const double decay : {0.0, 0.99}) {
    auto weights = small_weights(), others = small_weights();
    auto in_pass = average_weights(at::kFloat), following = average_weights(at::kFloat);
    AdamW optimizer(config, weights), other(config, others);
    fill_gradients(weights), fill_gradients(others);
    const MovingAverage average{in_pass, decay, nullptr};
    optimizer.step(weights, 1e-2, at::scalar_tensor(1.0, at::kFloat), &average);
    other.step(others, 1e-2, at::scalar_tensor(1.0, at::kFloat));
    update_average({following, decay, nullptr}, others);
    for (const int64_t unit : weights.units()) {
      EXPECT_TRUE(tests::same_bits(weights.master(unit), others.master(unit)));
      // A product and two sums, each rounded once, of numbers as large as the weights.
      EXPECT_TRUE(tests::near_max(in_pass.master(unit), following.master(unit), 4 * 0x1p-24));
    }
  }
}

TEST(MovingAverages, TheFirstBesideTheWeightsIsTaken) {
  const auto config = small_model();
  auto weights = small_weights();
  auto first = average_weights(at::kFloat), second = average_weights(at::kFloat);
  model::TrainedWeights away(
      config, model::random_weights(config, 2), "away", at::kMeta, at::kFloat, at::kFloat, false);
  const std::vector<MovingAverage> all{
      {away, 0.5, nullptr}, {first, 0.5, nullptr}, {second, 0.5, nullptr}};
  EXPECT_EQ(average_beside(weights, all), &all[1]);
  EXPECT_EQ(average_beside(weights, {all[0]}), nullptr);
  EXPECT_EQ(average_beside(weights, {}), nullptr);
}

TEST(AdamW, WritesTheCopiesThatAreThere) {
  auto weights = small_weights(at::kBFloat16), averages = average_weights(at::kBFloat16);
  AdamW optimizer({}, weights);
  fill_gradients(weights);
  // Units 0 and 1 have copies, the root has none yet.
  std::vector<at::Tensor> copies;
  for (const int64_t unit : {0, 1}) {
    for (model::TrainedWeights* of : {&weights, &averages}) {
      of->acquire(unit);
      copies.push_back(of->compute_copy(unit));
    }
  }
  const MovingAverage average{averages, 0.5, nullptr};
  optimizer.step(weights, 1e-1, at::scalar_tensor(1.0, at::kFloat), &average);
  size_t copy = 0;
  for (const int64_t unit : {0, 1}) {
    for (model::TrainedWeights* of : {&weights, &averages}) {
      EXPECT_TRUE(tests::same_bits(copies[copy], of->master(unit).to(at::kBFloat16)));
      EXPECT_EQ(of->compute_copy(unit).data_ptr(), copies[copy++].data_ptr());
    }
  }
  EXPECT_FALSE(weights.compute_copy(model::kRootUnit).defined());
}

TEST(AdamW, WritesNeitherAverageNorCopiesAtAScaleThatIsNotFinite) {
  auto weights = small_weights(at::kBFloat16), averages = average_weights(at::kBFloat16);
  AdamW optimizer({}, weights);
  fill_gradients(weights);
  weights.acquire(0), averages.acquire(0);
  const std::vector<at::Tensor> held{
      weights.compute_copy(0), averages.compute_copy(0), weights.master(0), averages.master(0)};
  std::vector<at::Tensor> before;
  for (const at::Tensor& tensor : held) before.push_back(tensor.clone());
  const MovingAverage average{averages, 0.5, nullptr};
  optimizer.step(weights,
                 1e-1,
                 at::scalar_tensor(std::numeric_limits<double>::quiet_NaN(), at::kFloat),
                 &average);
  for (size_t i = 0; i < held.size(); ++i) EXPECT_TRUE(tests::same_bits(held[i], before[i])) << i;
}

TEST(AdamW, StateGoesThroughItsMapBitForBit) {
  auto weights = small_weights();
  OptimizerConfig config;
  config.betas = {0.9, 0.99};
  AdamW optimizer(config, weights);
  fill_gradients(weights);
  optimizer.step(weights, 1e-3, at::scalar_tensor(1.0, at::kFloat));
  PieceMap saved = optimizer.state(weights);
  for (auto& [name, piece] : saved) piece.data = piece.data.clone();
  AdamW other(config, weights);
  for (auto& [name, piece] : other.state(weights)) piece.data.copy_(saved.at(name).data);
  other.resume_after(optimizer.updates());
  EXPECT_EQ(other.updates(), 1);
  for (const auto& [name, piece] : other.state(weights))
    EXPECT_TRUE(at::equal(piece.data, saved.at(name).data)) << name;
  EXPECT_TRUE(saved.contains("exp_avg/head.modulation"));
}

TEST(Ema, MovesTowardsTheWeights) {
  auto weights = small_weights();
  auto average = average_weights(at::kFloat);
  const at::Tensor before = average.master(model::kRootUnit).clone();
  update_average({average, 0.75, nullptr}, weights);
  const at::Tensor expected =
      0.75 * before.to(at::kDouble) + 0.25 * weights.master(model::kRootUnit).to(at::kDouble);
  // One rounding of a sum of values below one.
  EXPECT_LT(
      (average.master(model::kRootUnit).to(at::kDouble) - expected).abs().max().item<double>(),
      3e-7);
  update_average({average, 0.0, nullptr}, weights);
  EXPECT_TRUE(at::equal(average.master(model::kRootUnit), weights.master(model::kRootUnit)));
}

}  // namespace
}  // namespace vmla::trainer
