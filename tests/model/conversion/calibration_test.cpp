#include "model/conversion/calibration.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "model/network/attention_tap.h"
#include "tests/model/tiny_network.h"

namespace vmla::model {
namespace {

CalibrationSettings drawn_clips(int64_t clips) {
  CalibrationSettings settings{.clips = clips, .clip = {}, .seed = 3};
  settings.clip = [](int64_t index) {
    const std::string name = "clip" + std::to_string(index);
    return CalibrationClip{draw(name, {4, 3, kTinyHeight, kTinyWidth}).to(at::kFloat),
                           draw(name + "text", {4, 7}).to(at::kFloat)};
  };
  return settings;
}

// Chunks of two frames, four frames: the sequence is frames 0 and 1 clean, then 0 to 3 noisy. The
// clean ones are keys of their own two queries and of the second noisy chunk's two; each noisy one
// of the two of its chunk.
TEST(Calibration, MomentsAreWeightedByHowOftenTokensAreAttended) {
  TinyNetwork net(tiny_causal("dense", 2, -1, 0), at::kFloat);
  const CalibrationSettings settings = drawn_clips(3);
  std::vector<LayerMoments> found = moment_sums(net.network(), settings);
  normalise(found);
  ASSERT_EQ(found.size(), 2U);
  std::vector<at::Tensor> keys(2), queries(2);
  for (int64_t index = 0; index < 3; ++index) {
    const CalibrationInputs in = calibration_inputs(net.config, settings, index);
    EXPECT_GT(in.sigma_BF.min().item<double>(), 0.0);
    EXPECT_EQ(in.sigma_BF[0][0].item<double>(), in.sigma_BF[0][1].item<double>());
    EXPECT_NE(in.sigma_BF[0][1].item<double>(), in.sigma_BF[0][2].item<double>());
    const AttentionTap tap([&](int64_t layer, const at::Tensor& x_BLD) {
      ASSERT_EQ(x_BLD.sizes(), at::IntArrayRef({1, 6 * kTinyTokens, 24}));
      const at::Tensor x = at::cat({x_BLD[0].to(at::kDouble), at::ones({36, 1}, at::kDouble)}, 1);
      const at::Tensor weight =
          at::tensor({4.0, 4.0, 2.0, 2.0, 2.0, 2.0}).repeat_interleave(kTinyTokens).unsqueeze(1);
      const at::Tensor noisy = x.narrow(0, 2 * kTinyTokens, 4 * kTinyTokens);
      auto& key = keys[static_cast<size_t>(layer)];
      auto& query = queries[static_cast<size_t>(layer)];
      const at::Tensor more = x.t().matmul(weight * x), more_q = noisy.t().matmul(noisy);
      key = key.defined() ? key + more : more;
      query = query.defined() ? query + more_q : more_q;
    });
    teacher_forcing_forward(net.network(), in.clean_BFCHW, in.noisy, in.plan, {});
  }
  for (size_t layer = 0; layer < 2; ++layer) {
    EXPECT_LT(max_difference(found[layer].keys, keys[layer] / (3 * 16 * kTinyTokens)), 1e-10);
    EXPECT_LT(max_difference(found[layer].queries, queries[layer] / (3 * 4 * kTinyTokens)), 1e-10);
  }
}

TEST(Calibration, SharesOfTheClipsAddUp) {
  TinyNetwork net(tiny_causal("dense", 2, -1, 0), at::kFloat);
  CalibrationSettings settings = drawn_clips(3);
  const auto whole = moment_sums(net.network(), settings);
  settings.step = 4;
  std::vector<at::Tensor> sums(2);
  for (settings.first = 0; settings.first < 4; ++settings.first) {  // the last one has no clip
    const auto part = moment_sums(net.network(), settings);
    for (size_t layer = 0; layer < 2; ++layer)
      sums[layer] = sums[layer].defined() ? sums[layer] + part[layer].keys : part[layer].keys;
  }
  for (size_t layer = 0; layer < 2; ++layer)
    EXPECT_LT(max_difference(sums[layer], whole[layer].keys), 1e-9);
}

}  // namespace
}  // namespace vmla::model
