#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/model/tiny_network.h"

/// The causal modes are one function: a masked forward over all frames equals a forward chunk by
/// chunk against a cache, whatever the window.
namespace vmla::model {
namespace {

// Both sides are the same fp64 arithmetic in another order: some 1e-16 a step of order 1, over two
// layers of sums of some hundred terms.
constexpr double kTolerance = 1e-11;

struct CausalCase {
  std::string attention;
  int64_t n;
  bool first_alone;
};

class CausalEquivalence : public testing::TestWithParam<CausalCase> {
 protected:
  int64_t num_frames() const { return 12 + (GetParam().first_alone ? 1 : 0); }

  template <class Check>
  void for_each_window(const Check& check) const {
    for (const int64_t window : {-1, 4, 6, 7, 10}) {
      for (int64_t sink = 0; sink <= (window < 0 ? 0 : 3); ++sink) {
        if (window > 0 && window - sink < GetParam().n) continue;
        ModelConfig config = tiny_causal(GetParam().attention, GetParam().n, window, sink);
        config.independent_first_frame = GetParam().first_alone;
        SCOPED_TRACE(testing::Message() << "window " << window << " sink " << sink);
        TinyNetwork net(config);
        check(net);
      }
    }
  }
};

TEST_P(CausalEquivalence, TeacherForcingIsChunkwiseWithCleanContext) {
  for_each_window([&](TinyNetwork& net) {
    const DitInputs noisy = tiny_inputs(net.config, num_frames());
    const at::Tensor clean = draw("clean", noisy.latents_BFCHW.sizes());
    const PreparedPlan plan = prepared(net.config, teacher_forcing_plan(net.config, num_frames()));
    const at::Tensor masked = teacher_forcing_forward(net.network(), clean, noisy, plan, {});
    const DitInputs context = {clean, at::zeros_like(noisy.timesteps_BF), noisy.text_BTE};
    EXPECT_LT(max_difference(masked, cached_flow(net, noisy, context)), kTolerance);
  });
}

TEST_P(CausalEquivalence, ChunkCausalIsChunkwise) {
  for_each_window([&](TinyNetwork& net) {
    const DitInputs inputs = tiny_inputs(net.config, num_frames());
    const at::Tensor masked = flow_of(net, inputs, chunk_causal_plan(net.config, num_frames()));
    EXPECT_LT(max_difference(masked, cached_flow(net, inputs, {})), kTolerance);
  });
}

std::vector<CausalCase> causal_cases() {
  std::vector<CausalCase> cases;
  for (const char* attention : {"dense", "mla"}) {
    for (const int64_t n : {1, 2, 3}) {
      for (const bool first_alone : {false, true}) cases.push_back({attention, n, first_alone});
    }
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(All,
                         CausalEquivalence,
                         testing::ValuesIn(causal_cases()),
                         [](const testing::TestParamInfo<CausalCase>& test) {
                           return test.param.attention + std::to_string(test.param.n) +
                                  (test.param.first_alone ? "first_alone" : "");
                         });

class CausalForm : public testing::TestWithParam<const char*> {};

TEST_P(CausalForm, AppendOnlyAndStreamingCachesAgree) {
  TinyNetwork net(tiny_causal(GetParam(), 2, 6, 1));
  const DitInputs noisy = tiny_inputs(net.config, 12);
  const DitInputs clean = frames_of(noisy, 0, 12, /*clean=*/true);
  const at::Tensor ring = cached_flow(net, noisy, clean);
  const at::Tensor whole = cached_flow(net, noisy, clean, {.kind = CacheKind::kAppendOnly});
  EXPECT_LT(max_difference(ring, whole), kTolerance);
}

// Products of other widths, of which the kept weights have one, may add up in another order.
TEST_P(CausalForm, WhatPassesShareIsWhatEachMakes) {
  TinyNetwork net(tiny_causal(GetParam(), 3, 6, 1));
  const DitInputs noisy = tiny_inputs(net.config, 9);
  const DitInputs clean = frames_of(noisy, 0, 9, /*clean=*/true);
  EXPECT_LT(max_difference(cached_flow(net, noisy, clean, {.keep_text = true}),
                           cached_flow(net, noisy, clean)),
            kTolerance);
}

TEST_P(CausalForm, ExpandedIsAbsorbed) {
  if (std::string(GetParam()) == "dense") {
    // The form is of the latent alone: a dense network does not look at it.
    TinyNetwork net(tiny_causal("dense", 3, 6, 1));
    const DitInputs noisy = tiny_inputs(net.config, 9);
    EXPECT_TRUE(bit_equal(cached_flow(net, noisy, {}, {.form = LatentForm::kAbsorbed}),
                          cached_flow(net, noisy, {})));
    return;
  }
  for (const auto& [window, sink] : {std::pair{-1, 0}, {4, 1}, {6, 1}, {6, 3}, {7, 1}, {10, 2}}) {
    SCOPED_TRACE(testing::Message() << "window " << window << " sink " << sink);
    const ModelConfig config = tiny_causal("mla", 3, window, sink);
    TinyNetwork net(config);
    const DitInputs noisy = tiny_inputs(config, 12);
    const DitInputs clean = frames_of(noisy, 0, 12, /*clean=*/true);
    const at::Tensor expanded = cached_flow(net, noisy, clean);
    const at::Tensor absorbed = cached_flow(net, noisy, clean, {.form = LatentForm::kAbsorbed});
    EXPECT_LT(max_difference(expanded, absorbed), 1e-10);

    // Under a mask as well, where keys may have copies at other times.
    const PreparedPlan plan = prepared(config, teacher_forcing_plan(config, 12));
    const auto masked = [&](LatentForm form) {
      return teacher_forcing_forward(
          net.network(), noisy.latents_BFCHW.flip({1}), noisy, plan, {.form = form});
    };
    EXPECT_LT(max_difference(masked(LatentForm::kExpanded), masked(LatentForm::kAbsorbed)), 1e-10);

    // fp32: relative to the largest flow (docs/algorithms.md 4.2).
    TinyNetwork single(config, at::kFloat);
    const at::Tensor expanded32 = cached_flow(single, to_float(noisy), to_float(clean));
    const at::Tensor absorbed32 =
        cached_flow(single, to_float(noisy), to_float(clean), {.form = LatentForm::kAbsorbed});
    const double largest = expanded.abs().max().item<double>();
    EXPECT_LT(max_difference(expanded32, absorbed32) / largest, 1e-5);
    EXPECT_LT(max_difference(expanded32, expanded) / largest, 1e-5);
  }
}

TEST_P(CausalForm, OneChunkIsBidirectionalToTheBit) {
  for (const int64_t frames : {1, 3}) {
    TinyNetwork net(tiny_causal(GetParam(), frames, frames + 1, 1));
    const DitInputs inputs = tiny_inputs(net.config, frames);
    const at::Tensor whole = flow_of(net, inputs, bidirectional_plan(frames));
    EXPECT_TRUE(bit_equal(whole, flow_of(net, inputs, chunk_causal_plan(net.config, frames))));
    EXPECT_TRUE(bit_equal(whole, cached_flow(net, inputs, {})));
  }
}

INSTANTIATE_TEST_SUITE_P(All, CausalForm, testing::Values("dense", "mla"), [](const auto& test) {
  return std::string(test.param);
});

}  // namespace
}  // namespace vmla::model
