#include "trainer/objectives/objective.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <map>

#include "model/io/error.h"
#include "tests/support/tensor_match.h"
#include "tests/trainer/objectives/chi_square.h"
#include "tests/trainer/small_networks.h"

namespace vmla::trainer {
namespace {

constexpr ClipShape kClip{6, 3, 4, 4};

ConsistencyConfig consistency(bool include_endpoint) {
  ConsistencyConfig config;
  config.include_endpoint = include_endpoint;
  return config;
}

SmallNetworks three_networks() {
  SmallNetworks networks;
  for (const char* role : {"generator", "teacher", "target_ema"})
    networks.add(role, small_model("mla"));
  return networks;
}

/// Student, target and teacher say one constant velocity field: all points of a straight path have
/// the same end, whatever the guidance (docs/algorithms.md 9.5). What is left is rounding: squares
/// of 1e-16 times values around 1.
TEST(Consistency, LossIsZeroOnAConstantField) {
  const auto config = small_model("mla");
  auto weights = small_weights(config, 1);
  weights.at("head.head.weight").zero_();
  weights.at("head.head.bias") =
      at::linspace(-1, 2, weights.at("head.head.bias").numel(), at::kDouble);
  SmallNetworks networks;
  for (const char* role : {"generator", "teacher", "target_ema"})
    networks.add(role, config, weights);
  const auto objective = make_objective(consistency(true), config);
  auto inputs = small_inputs(*objective, "generator", kClip, {.seed = 1, .step = 2, .batch = 2});
  for (int64_t index = 0; index < 48; ++index) {
    inputs["index"] = at::tensor({index, 47 - index}, at::kLong);
    const Evaluated done =
        evaluate_small(*objective, "generator", inputs, networks, model::GradMode::kNone);
    EXPECT_LT(done.loss, 1e-28) << "index " << index;
    EXPECT_GT(done.details.at("prediction").abs().max().item<double>(), 0.1);
  }
}

TEST(Consistency, TargetOfTheLastGridPointIsTheTeachersEndpoint) {
  const SmallNetworks networks = three_networks();
  const auto objective = make_objective(consistency(true), small_model("mla"));
  auto inputs = small_inputs(*objective, "generator", kClip, {.seed = 1, .step = 2, .batch = 2});
  inputs["index"] = at::tensor({47, 10}, at::kLong);
  const auto details =
      evaluate_small(*objective, "generator", inputs, networks, model::GradMode::kNone).details;
  EXPECT_TRUE(tests::same_bits(details.at("target")[0], details.at("x_next")[0]));
  EXPECT_FALSE(at::equal(details.at("target")[1], details.at("x_next")[1]));
  // t of the last of 48 points with shift 5 (docs/algorithms.md 7.4): 5 u / (1 + 4 u) with u =
  // 1/48.
  EXPECT_NEAR(details.at("timesteps")[0][0].item<double>(), 1000.0 * 5 / 52, 1e-9);
}

TEST(Consistency, OnlyTheStudentIsMoved) {
  SmallNetworks networks = three_networks();
  const auto objective = make_objective(consistency(false), small_model("mla"));
  const auto inputs =
      small_inputs(*objective, "generator", kClip, {.seed = 1, .step = 2, .batch = 2});
  evaluate_small(*objective, "generator", inputs, networks);
  EXPECT_NE(along(networks.gradients("generator")), 0);
  for (const char* role : {"teacher", "target_ema"}) {
    for (const auto& [name, gradient] : networks.gradients(role))
      EXPECT_EQ(gradient.abs().max().item<double>(), 0) << role << " " << name;
  }
}

TEST(Consistency, DrawsEveryGridPointAndTheLastOnlyWhenAsked) {
  for (const bool endpoint : {false, true}) {
    const auto objective = make_objective(consistency(endpoint), small_model("mla"));
    const at::Tensor index =
        objective->draws("generator", {1, 1, 1, 1}, {.seed = 1, .step = 0, .batch = 4000})
            .at("index");
    EXPECT_EQ(index.min().item<int64_t>(), 0);
    EXPECT_EQ(index.max().item<int64_t>(), endpoint ? 47 : 46);
    std::map<int64_t, int64_t> counts;
    for (int64_t b = 0; b < index.numel(); ++b) ++counts[index[b].item<int64_t>()];
    const int64_t points = endpoint ? 48 : 47;
    EXPECT_LT(chi_square(counts, points, 4000), chi_square_bound(points));
  }
}

TEST(Consistency, RefusesAnIndexOutsideTheGrid) {
  const SmallNetworks networks = three_networks();
  const auto objective = make_objective(consistency(true), small_model("mla"));
  auto inputs = small_inputs(*objective, "generator", kClip, {.seed = 1, .step = 2, .batch = 2});
  for (const int64_t bad : {-1, 48}) {
    inputs["index"] = at::tensor({int64_t{0}, bad}, at::kLong);
    EXPECT_THROW(evaluate_small(*objective, "generator", inputs, networks, model::GradMode::kNone),
                 UserError)
        << bad;
  }
}

}  // namespace
}  // namespace vmla::trainer
