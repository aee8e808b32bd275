#include "model/network/wan_dit.h"
#include "model/network/embedding.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/io/error.h"
#include "tests/model/tiny_network.h"

namespace vmla::model {
namespace {

using testing::HasSubstr;

TEST(WanDit, TimestepSinusoid) {
  const at::Tensor t = at::tensor({0.0, 1.0, 937.5}, at::kDouble);
  const at::Tensor s = timestep_sinusoid(t, 8, at::kDouble);
  ASSERT_EQ(s.sizes(), at::IntArrayRef({3, 8}));
  for (int64_t row = 0; row < 3; ++row) {
    for (int64_t j = 0; j < 4; ++j) {
      const double angle = t[row].item<double>() * std::pow(10000.0, -static_cast<double>(j) / 4);
      // An angle near 1000 is known to 1e-13 in fp64.
      EXPECT_NEAR(s[row][j].item<double>(), std::cos(angle), 1e-12);
      EXPECT_NEAR(s[row][4 + j].item<double>(), std::sin(angle), 1e-12);
    }
  }
  // Angles are formed in fp64 whatever the dtype asked for.
  EXPECT_TRUE(bit_equal(timestep_sinusoid(t, 8, at::kFloat), s.to(at::kFloat)));
}

/// A network whose blocks add nothing: zero gates, zero output of the cross-attention.
std::map<std::string, at::Tensor> idle_weights(const ModelConfig& config) {
  auto w = drawn_weights(config);
  for (auto& [name, tensor] : w) {
    for (const char* part : {"modulation", "time_", "cross_attn.o", "patch", "head"}) {
      if (name.find(part) != std::string::npos) tensor.zero_();
    }
  }
  return w;
}

TEST(WanDit, PatchesAreOrderedAsWanDoes) {
  // Width = patch vector, so that the weights can number its entries.
  ModelConfig config = tiny_dense();
  config.dim = 12;
  auto w = idle_weights(config);
  const int64_t channels = config.in_dim;
  const at::Tensor in_scale = draw("in", {12}).abs() + 1.0, out_scale = draw("out", {12});
  // Token entry i = (c, dy, dx), channel slowest; head row o = (dy, dx, c), channel fastest.
  at::Tensor patch = w.at("patch_embedding.weight"), head = w.at("head.head.weight");
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t dy = 0; dy < 2; ++dy) {
      for (int64_t dx = 0; dx < 2; ++dx) {
        const int64_t i = (c * 2 + dy) * 2 + dx, o = (dy * 2 + dx) * channels + c;
        patch[i][c][0][dy][dx] = in_scale[i];
        head[o][i] = out_scale[i];
      }
    }
  }
  FrozenWeights weights(config, w, "idle", at::kCPU, at::kDouble);
  const DitInputs inputs = tiny_inputs(config, 2);
  const at::Tensor flow =
      dit_forward({config, weights}, inputs, prepared(config, bidirectional_plan(2)), {}, {})
          .flow_BFCHW;

  ASSERT_EQ(flow.sizes(), inputs.latents_BFCHW.sizes());
  const auto x = inputs.latents_BFCHW.accessor<double, 5>();
  const auto y = flow.accessor<double, 5>();
  const auto a = in_scale.accessor<double, 1>(), b = out_scale.accessor<double, 1>();
  for (int64_t f = 0; f < 2; ++f) {
    for (int64_t row = 0; row < kTinyHeight; row += 2) {
      for (int64_t col = 0; col < kTinyWidth; col += 2) {
        const auto scaled = [&](int64_t i) {
          return a[i] * x[1][f][i / 4][row + i / 2 % 2][col + i % 2];
        };
        double mean = 0, square = 0;
        for (int64_t i = 0; i < 12; ++i) mean += scaled(i) / 12;
        for (int64_t i = 0; i < 12; ++i) square += std::pow(scaled(i) - mean, 2) / 12;
        for (int64_t i = 0; i < 12; ++i) {
          const double expected = b[i] * (scaled(i) - mean) / std::sqrt(square + config.eps);
          EXPECT_NEAR(y[1][f][i / 4][row + i / 2 % 2][col + i % 2], expected, 1e-12);
        }
      }
    }
  }
}

TEST(WanDit, PaddedTextRowsAreAttendedTo) {
  TinyNetwork net(tiny_mla());
  const DitInputs inputs = tiny_inputs(net.config, 2);  // 3 of 5 rows
  const AttentionPlan plan = bidirectional_plan(2);
  const at::Tensor flow = flow_of(net, inputs, plan);
  DitInputs zeros = inputs;
  zeros.text_BTE = at::constant_pad_nd(inputs.text_BTE, {0, 0, 0, 2});
  EXPECT_TRUE(bit_equal(flow, flow_of(net, zeros, plan)));
  // The embedding has biases: a zero row is a token like any other.
  ModelConfig shorter = tiny_mla();
  shorter.text_len = 3;
  TinyNetwork without(shorter);
  EXPECT_GT(max_difference(flow, flow_of(without, inputs, plan)), 1e-3);
}

TEST(WanDit, EveryFrameCarriesItsTimestep) {
  // Without attention between frames a timestep moves its own frame alone.
  for (const char* attention : {"dense", "mla"}) {
    TinyNetwork net(tiny_causal(attention, 1, 1, 0));
    const DitInputs inputs = tiny_inputs(net.config, 3);
    const AttentionPlan plan = chunk_causal_plan(net.config, 3);  // a window of the frame itself
    const at::Tensor flow = flow_of(net, inputs, plan);
    DitInputs other = inputs;
    other.timesteps_BF = inputs.timesteps_BF.clone();
    other.timesteps_BF.select(1, 1).add_(10.0);
    const at::Tensor moved = flow_of(net, other, plan);
    EXPECT_TRUE(bit_equal(flow.select(1, 0), moved.select(1, 0)));
    EXPECT_TRUE(bit_equal(flow.select(1, 2), moved.select(1, 2)));
    EXPECT_GT(max_difference(flow.select(1, 1), moved.select(1, 1)), 1e-3);
    // With attention among all frames it moves all of them.
    const at::Tensor whole = flow_of(net, inputs, bidirectional_plan(3));
    const at::Tensor whole_moved = flow_of(net, other, bidirectional_plan(3));
    for (int64_t f = 0; f < 3; ++f) {
      EXPECT_GT(max_difference(whole.select(1, f), whole_moved.select(1, f)), 1e-6);
    }
  }
}

TEST(WanDit, SamplesOfABatchAreIndependent) {
  TinyNetwork net(tiny_mla());
  const DitInputs inputs = tiny_inputs(net.config, 2);
  const AttentionPlan plan = bidirectional_plan(2);
  const at::Tensor flow = flow_of(net, inputs, plan);
  for (int64_t b = 0; b < 2; ++b) {
    const auto one = [&](const at::Tensor& x) { return x.narrow(0, b, 1); };
    const at::Tensor alone = flow_of(
        net, {one(inputs.latents_BFCHW), one(inputs.timesteps_BF), one(inputs.text_BTE)}, plan);
    EXPECT_LT(max_difference(one(flow), alone), 1e-12);
  }
}

TEST(WanDit, EveryWeightMovesTheFlow) {
  for (const ModelConfig& config : {tiny_dense(), tiny_mla()}) {
    auto weights = drawn_weights(config);
    const DitInputs inputs = tiny_inputs(config, 2);
    const auto flow = [&] {
      FrozenWeights frozen(config, weights, "drawn", at::kCPU, at::kDouble);
      return dit_forward({config, frozen}, inputs, prepared(config, bidirectional_plan(2)), {}, {})
          .flow_BFCHW;
    };
    const at::Tensor before = flow();
    for (auto& [name, tensor] : weights) {
      const at::Tensor kept = tensor;
      tensor = tensor + 0.5 * draw("other " + name, tensor.sizes());
      // A cross key bias that is the same for all rows would drop out, were it not for the norm.
      EXPECT_GT(max_difference(before, flow()), 1e-6) << name;
      tensor = kept;
    }
  }
}

TEST(WanDit, Bf16IsNearAndReturnsFp32) {
  TinyNetwork exact(tiny_mla()), half(tiny_mla(), at::kBFloat16);
  const DitInputs inputs = tiny_inputs(exact.config, 2);
  const at::Tensor flow = flow_of(exact, inputs, bidirectional_plan(2));
  const at::Tensor rough = flow_of(half, to_float(inputs), bidirectional_plan(2));
  EXPECT_EQ(rough.scalar_type(), at::kFloat);
  // bf16 has 8 bits: some percent after two layers.
  const double largest = flow.abs().max().item<double>();
  EXPECT_LT(max_difference(rough, flow) / largest, 0.05);
  EXPECT_GT(max_difference(rough, flow) / largest, 1e-5);
}

TEST(WanDit, MisfitsAreExplained) {
  TinyNetwork net(tiny_dense());
  const DitInputs good = tiny_inputs(net.config, 2);
  const auto message = [&](const DitInputs& inputs) {
    try {
      flow_of(net, inputs, bidirectional_plan(2));
    } catch (const UserError& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  DitInputs bad = good;
  bad.latents_BFCHW = at::zeros({2, 2, 4, 4, 6}, at::kDouble);
  EXPECT_THAT(message(bad), HasSubstr("latents have 4 channels, the model takes 3"));
  bad = good;
  bad.text_BTE = at::zeros({2, 6, 7}, at::kDouble);
  EXPECT_THAT(message(bad), HasSubstr("6 rows, more than text_len 5"));
  bad = good;
  bad.text_BTE = at::zeros({2, 3, 8}, at::kDouble);
  EXPECT_THAT(message(bad), HasSubstr("8 wide, the model takes text_dim 7"));
  bad = good;
  bad.latents_BFCHW = at::zeros({2, 2, 3, 5, 6}, at::kDouble);
  EXPECT_THAT(message(bad), HasSubstr("latents of 5x6"));
  bad = good;
  bad.timesteps_BF = at::zeros({2, 1}, at::kDouble);
  EXPECT_THROW(flow_of(net, bad, bidirectional_plan(2)), c10::Error);
  EXPECT_THROW(flow_of(net, good, bidirectional_plan(3)), c10::Error);
  EXPECT_THROW(flow_of(net, good, cached_plan(net.config, {0}, 1, 2)),
               c10::Error);  // no window given
}

TEST(WanDit, CheaperFormFollowsTheArithmetic) {
  ModelConfig wan = model_preset("wan1.3b");
  wan.attention = "mla";
  const LayerDims d = layer_dims(wan, 0);
  // A chunk of 4680 queries expands; a few queries on a long cache do not. The two meet near 265
  // queries: R (nope + V) / (2 R - nope - V) = 268.8 for long contexts (docs/algorithms.md 4.3).
  EXPECT_EQ(cheaper_form(d, 4680, 10920, 10920), LatentForm::kExpanded);
  EXPECT_EQ(cheaper_form(d, 4680, 4680, 4680), LatentForm::kExpanded);
  EXPECT_EQ(cheaper_form(d, 200, 32760, 32760), LatentForm::kAbsorbed);
  EXPECT_EQ(cheaper_form(d, 300, 32760, 32760), LatentForm::kExpanded);
  // A window that is kept need not be rebuilt.
  EXPECT_EQ(cheaper_form(d, 200, 32760, 200), LatentForm::kExpanded);
}

}  // namespace
}  // namespace vmla::model
