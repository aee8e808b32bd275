#include "model/sampling/ode_pairs.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/io/error.h"
#include "model/sampling/flow_match_schedule.h"
#include "tests/model/tiny_network.h"

namespace vmla::model {
namespace {

using testing::DoubleNear;
using testing::ElementsAre;
using testing::HasSubstr;

const std::vector<double> kList = {1000, 750, 500, 250};

TEST(OdeGrid, KeepsTheStatesOfTheStudentsSteps) {
  const OdeGrid grid = ode_grid(48, 5.0, kList);
  EXPECT_EQ(grid.timesteps.size(), 48u);
  EXPECT_THAT(grid.recorded, ElementsAre(0, 12, 24, 36));
  // Algorithms 4.3: [1000, 937.5, 833.333, 625] at shift 5.
  EXPECT_THAT(grid.state_times(),
              ElementsAre(DoubleNear(1000, 1e-9),
                          DoubleNear(937.5, 1e-9),
                          DoubleNear(2500.0 / 3, 1e-9),
                          DoubleNear(625, 1e-9),
                          0.0));
  EXPECT_THAT(ode_grid(48, 5.0, {1000, 500, 0}).recorded, ElementsAre(0, 24));
  EXPECT_THAT(ode_grid(10, 3.0, {900, 100}).recorded, ElementsAre(1, 9));
}

TEST(OdeGrid, RefusesStepsBetweenItsPoints) {
  const auto complaint = [](int64_t steps, const std::vector<double>& list) -> std::string {
    try {
      ode_grid(steps, 5.0, list);
    } catch (const UserError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(complaint(50, kList), HasSubstr("step 750 is no point of a grid of 50 steps"));
  EXPECT_THAT(complaint(48, {1000, 999}), HasSubstr("step 999"));
  EXPECT_THAT(complaint(48, {500, 1000}), HasSubstr("must decrease"));
  EXPECT_THAT(complaint(0, kList), HasSubstr("at least 1"));
}

OdeStart start_of(const ModelConfig& config, int64_t num_frames, at::ScalarType dtype) {
  const DitInputs inputs = tiny_inputs(config, num_frames);
  return {draw("ode clean", inputs.latents_BFCHW.sizes()).to(dtype),
          draw("ode noise", inputs.latents_BFCHW.sizes()).to(dtype),
          inputs.text_BTE.to(dtype),
          draw("ode negative", {1, 2, config.text_dim}).to(dtype)};
}

class OdePairs : public testing::TestWithParam<const char*> {};

TEST_P(OdePairs, CachedIsDoubled) {
  const OdeGrid grid = ode_grid(8, 5.0, kList);
  for (const auto& [window, sink] : {std::pair{-1, 0}, {4, 1}, {6, 1}, {6, 0}}) {
    for (const double guidance : {1.0, 3.0}) {
      SCOPED_TRACE(testing::Message()
                   << "window " << window << " sink " << sink << " guidance " << guidance);
      const ModelConfig config = tiny_causal(GetParam(), 2, window, sink);
      // In fp64 both ways are the same arithmetic in another order: 1e-15, enlarged by eight steps
      // of guidance as in tests/model/tiny_rollout.h. In fp32, 1e-5 of the values' rms is some
      // hundred roundings of 6e-8.
      for (const auto& [dtype, tolerance] : {std::pair{at::kDouble, 1e-9}, {at::kFloat, 1e-5}}) {
        TinyNetwork net(config, dtype);
        const OdeStart start = start_of(config, 8, dtype);
        const at::Tensor cached = ode_states(net.network(), start, grid, guidance, OdeWay::kCached);
        const at::Tensor doubled =
            ode_states(net.network(), start, grid, guidance, OdeWay::kDoubled);
        ASSERT_EQ(cached.sizes().slice(0, 3), (at::IntArrayRef{2, 5, 8}));
        EXPECT_EQ(cached.scalar_type(), dtype);
        for (int64_t k = 0; k < 5; ++k) {
          const at::Tensor state = doubled.select(1, k);
          const double rms = state.square().mean().sqrt().item<double>();
          EXPECT_LT(max_difference(cached.select(1, k), state) / rms, tolerance) << "state " << k;
        }
      }
    }
  }
}

TEST_P(OdePairs, IsThePlainLoopOverTheTeachersFlow) {
  // The definition, spelled out: Euler steps of the guided teacher-forcing flow, one pass a prompt.
  const ModelConfig config = tiny_causal(GetParam(), 3, 6, 1);
  TinyNetwork net(config);
  const OdeStart start = start_of(config, 9, at::kDouble);
  const PreparedPlan plan = prepared(config, teacher_forcing_plan(config, 9));
  const std::vector<double> grid = timestep_grid(4, 5.0);
  const double w = 6.0;
  at::Tensor x = start.noise_BFCHW;
  std::vector<at::Tensor> states;
  for (size_t i = 0; i < 4; ++i) {
    if (i % 2 == 0) states.push_back(x);
    const at::Tensor t = at::full({2, 9}, grid[i], at::kDouble);
    const auto flow = [&](const at::Tensor& text) {
      return teacher_forcing_forward(net.network(), start.clean_BFCHW, {x, t, text}, plan, {});
    };
    const at::Tensor negative = flow(start.negative_text_1TE.expand({2, -1, -1}));
    const at::Tensor v = negative + w * (flow(start.text_BTE) - negative);
    x = x + v * ((i < 3 ? grid[i + 1] : 0.0) - grid[i]) / 1000;
  }
  states.push_back(x);
  const at::Tensor wanted = at::stack(states, 1);
  for (const OdeWay way : {OdeWay::kCached, OdeWay::kDoubled}) {
    const at::Tensor found =
        ode_states(net.network(), start, ode_grid(4, 5.0, {1000, 500}), w, way);
    EXPECT_LT(max_difference(found, wanted), 1e-9 * wanted.abs().max().item<double>());
  }
}

TEST_P(OdePairs, AChunkSeesTheCleanPastAndNoFuture) {
  const ModelConfig config = tiny_causal(GetParam(), 2, -1, 0);
  TinyNetwork net(config);
  const OdeGrid grid = ode_grid(4, 5.0, {1000, 500});
  const OdeStart start = start_of(config, 6, at::kDouble);
  const auto end_of = [&](const OdeStart& from) {
    return ode_states(net.network(), from, grid, 2.0, OdeWay::kCached).select(1, 2);
  };
  const at::Tensor plain = end_of(start);
  // Another clean second chunk moves the third chunk's path alone.
  OdeStart other = start;
  other.clean_BFCHW = start.clean_BFCHW.clone();
  other.clean_BFCHW.narrow(1, 2, 2).add_(1.0);
  const at::Tensor moved = end_of(other);
  EXPECT_TRUE(bit_equal(plain.narrow(1, 0, 4), moved.narrow(1, 0, 4)));
  EXPECT_GT(max_difference(plain.narrow(1, 4, 2), moved.narrow(1, 4, 2)), 1e-3);
  // Another noise of the second chunk moves that chunk alone: the context is the clean clip.
  other = start;
  other.noise_BFCHW = start.noise_BFCHW.clone();
  other.noise_BFCHW.narrow(1, 2, 2).add_(1.0);
  const at::Tensor noised = end_of(other);
  EXPECT_TRUE(bit_equal(plain.narrow(1, 0, 2), noised.narrow(1, 0, 2)));
  EXPECT_TRUE(bit_equal(plain.narrow(1, 4, 2), noised.narrow(1, 4, 2)));
  EXPECT_GT(max_difference(plain.narrow(1, 2, 2), noised.narrow(1, 2, 2)), 1e-3);
}

INSTANTIATE_TEST_SUITE_P(Attention, OdePairs, testing::Values("dense", "mla"));

}  // namespace
}  // namespace vmla::model
