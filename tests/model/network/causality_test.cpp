#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/model/tiny_network.h"

/// The past does not depend on the future, to the bit, in every causal mode.
namespace vmla::model {
namespace {

struct CausalityCase {
  std::string attention;
  int64_t window, sink;
};

class Causality : public testing::TestWithParam<CausalityCase> {
 protected:
  static constexpr int64_t kFrames = 8, kChunk = 2, kChunks = 4;
  Causality()
      : net_(tiny_causal(GetParam().attention, kChunk, GetParam().window, GetParam().sink)),
        inputs_(tiny_inputs(net_.config, kFrames)) {}

  /// Whether chunk k of the flow is what it was.
  static bool same(const at::Tensor& a, const at::Tensor& b, int64_t k) {
    return bit_equal(a.narrow(1, k * kChunk, kChunk), b.narrow(1, k * kChunk, kChunk));
  }
  static at::Tensor changed(const at::Tensor& x_BF, int64_t chunk) {
    at::Tensor copy = x_BF.clone();
    copy.narrow(1, chunk * kChunk + 1, 1).add_(1.0);
    return copy;
  }
  /// Whether the changed frame of `chunk` can move chunk k: in the first layer it moves the chunks
  /// that attend to it, in the second those that attend to any frame of such a chunk.
  bool reaches(int64_t chunk, int64_t k) const {
    const auto context = [&](int64_t c) {
      return attended_context(net_.config, c * kChunk, kChunk);
    };
    const auto moved_first = [&](int64_t c) {
      const auto seen = context(c);
      return c == chunk || std::count(seen.begin(), seen.end(), chunk * kChunk + 1) > 0;
    };
    const auto seen = context(k);
    return moved_first(k) || std::any_of(seen.begin(), seen.end(), [&](int64_t frame) {
             return moved_first(frame / kChunk);
           });
  }

  TinyNetwork net_;
  DitInputs inputs_;
};

TEST_P(Causality, ChunkCausalMask) {
  const AttentionPlan plan = chunk_causal_plan(net_.config, kFrames);
  const at::Tensor before = flow_of(net_, inputs_, plan);
  for (int64_t j = 0; j < kChunks; ++j) {
    DitInputs latents = inputs_, times = inputs_;
    latents.latents_BFCHW = changed(inputs_.latents_BFCHW, j);
    times.timesteps_BF = changed(inputs_.timesteps_BF, j);
    const at::Tensor by_latents = flow_of(net_, latents, plan),
                     by_times = flow_of(net_, times, plan);
    for (int64_t k = 0; k < kChunks; ++k) {
      SCOPED_TRACE(testing::Message() << "change in " << j << ", seen from " << k);
      EXPECT_EQ(same(before, by_latents, k), k < j || !reaches(j, k));
      EXPECT_EQ(same(before, by_times, k), k < j || !reaches(j, k));
    }
  }
}

TEST_P(Causality, TeacherForcingMask) {
  const PreparedPlan plan = prepared(net_.config, teacher_forcing_plan(net_.config, kFrames));
  const at::Tensor clean = draw("clean", inputs_.latents_BFCHW.sizes());
  const auto run = [&](const at::Tensor& clean_BFCHW, const DitInputs& noisy) {
    return teacher_forcing_forward(net_.network(), clean_BFCHW, noisy, plan, {});
  };
  const at::Tensor before = run(clean, inputs_);
  for (int64_t j = 0; j < kChunks; ++j) {
    DitInputs noisy = inputs_, times = inputs_;
    noisy.latents_BFCHW = changed(inputs_.latents_BFCHW, j);
    times.timesteps_BF = changed(inputs_.timesteps_BF, j);
    const at::Tensor by_clean = run(changed(clean, j), inputs_);
    const at::Tensor by_noisy = run(clean, noisy), by_times = run(clean, times);
    for (int64_t k = 0; k < kChunks; ++k) {
      SCOPED_TRACE(testing::Message() << "change in " << j << ", seen from " << k);
      // A clean chunk moves later noisy ones only; a noisy one itself alone.
      EXPECT_EQ(same(before, by_clean, k), k <= j || !reaches(j, k));
      EXPECT_EQ(same(before, by_noisy, k), k != j);
      EXPECT_EQ(same(before, by_times, k), k != j);
    }
  }
}

TEST_P(Causality, Cache) {
  const DitInputs clean = frames_of(inputs_, 0, kFrames, /*clean=*/true);
  const at::Tensor before = cached_flow(net_, inputs_, clean);
  for (int64_t j = 0; j < kChunks; ++j) {
    DitInputs other = clean;
    other.latents_BFCHW = changed(clean.latents_BFCHW, j);
    const at::Tensor after = cached_flow(net_, inputs_, other);
    for (int64_t k = 0; k < kChunks; ++k) {
      EXPECT_EQ(same(before, after, k), k <= j || !reaches(j, k)) << j << " seen from " << k;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All,
                         Causality,
                         testing::Values(CausalityCase{"dense", -1, 0},
                                         CausalityCase{"dense", 4, 1},
                                         CausalityCase{"mla", -1, 0},
                                         CausalityCase{"mla", 4, 0},
                                         CausalityCase{"mla", 5, 2}),
                         [](const testing::TestParamInfo<CausalityCase>& test) {
                           const auto& p = test.param;
                           return p.attention + (p.window < 0 ? "" : std::to_string(p.window)) +
                                  "sink" + std::to_string(p.sink);
                         });

}  // namespace
}  // namespace vmla::model
