#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <limits>

#include "tests/model/tiny_network.h"

/// Gradients of the whole network, in every mode it is trained in.
namespace vmla::model {
namespace {

enum class Pass { kBidirectional, kTeacherForcing, kCached };

/// One training-like pass: loss = sum(flow * fixed weights), and for the cached one also of the new
/// keys and values, which later chunks read.
struct TrainingPass {
  TrainingPass(const std::string& attention, Pass p)
      : pass(p), config(tiny_causal(attention, 2, 4, 1)) {
    switch (pass) {
      case Pass::kBidirectional:
        plan = prepared(config, bidirectional_plan(3));
        inputs = tiny_inputs(config, 3);
        break;
      case Pass::kTeacherForcing:  // 6 frames: the last chunk sees the sink at a moved time
        plan = prepared(config, teacher_forcing_plan(config, 6));
        inputs = tiny_inputs(config, 6);
        clean = draw("clean", inputs.latents_BFCHW.sizes());
        break;
      case Pass::kCached:
        plan = prepared(config, cached_plan(config, {3, 0}, 4, 2));
        inputs = tiny_inputs(config, 2);
        for (int64_t layer = 0; layer < config.num_layers; ++layer) {
          const LayerDims d = layer_dims(config, layer);
          const int64_t content = config.is_mla() ? d.kv_rank : d.dim;
          const int64_t key = config.is_mla() ? d.rope : d.dim;
          const std::string name = "window" + std::to_string(layer);
          window.push_back({draw(name + "content", {2, 2 * kTinyTokens, content}),
                            draw(name + "key", {2, 2 * kTinyTokens, key})});
        }
        break;
    }
  }

  /// The same pass on fp32 tensors.
  void to_single() {
    inputs = to_float(inputs);
    plan = prepared(config, plan.plan, at::kFloat);
    if (clean.defined()) clean = clean.to(at::kFloat);
    for (LayerKv& kv : window) kv = {kv.content.to(at::kFloat), kv.key.to(at::kFloat)};
  }

  at::Tensor loss(WeightSource& weights, GradMode grad, Recompute recompute) const {
    const Network network{config, weights};
    ForwardOptions options{.grad = grad, .recompute = recompute};
    if (pass == Pass::kTeacherForcing) {
      return weighted(teacher_forcing_forward(network, clean, inputs, plan, options), "flow");
    }
    options.keep_kv = pass == Pass::kCached;
    const DitOutputs out = dit_forward(network, inputs, plan, window, options);
    at::Tensor sum = weighted(out.flow_BFCHW, "flow");
    for (size_t layer = 0; layer < out.kv.size(); ++layer) {
      sum = sum + weighted(out.kv[layer].content, "content") + weighted(out.kv[layer].key, "key");
    }
    return sum;
  }

  static at::Tensor weighted(const at::Tensor& x, const std::string& name) {
    return (x * draw("loss " + name, x.sizes())).sum();
  }

  Pass pass;
  ModelConfig config;
  PreparedPlan plan;
  DitInputs inputs;
  at::Tensor clean;
  std::vector<LayerKv> window;
};

TrainedWeights trained_weights(const ModelConfig& config) {
  return {config, drawn_weights(config), "drawn", at::kCPU, at::kDouble, at::kDouble};
}

/// Checks d loss / d x[i] at a few elements by central differences. With a step of 1e-5 the
/// truncation is 1e-10 times a third derivative, the rounding 1e-16 times a loss below 1e3 over the
/// step: 1e-8 absolute, on gradients around 1 to 100.
void expect_numeric(const std::string& name,
                    at::Tensor x,
                    const at::Tensor& gradient,
                    const std::function<double()>& loss) {
  constexpr double kStep = 1e-5;
  ASSERT_TRUE(gradient.defined()) << name;
  ASSERT_EQ(gradient.sizes(), x.sizes()) << name;
  at::Tensor flat = x.view({-1});
  const at::Tensor flat_gradient = gradient.reshape({-1});
  const int64_t count = flat.numel();
  for (const int64_t i : {count / 3, count - 1}) {
    const double before = flat[i].item<double>();
    flat[i] = before + kStep;
    const double up = loss();
    flat[i] = before - kStep;
    const double down = loss();
    flat[i] = before;
    const double expected = (up - down) / (2 * kStep);
    const double found = flat_gradient[i].item<double>();
    EXPECT_NEAR(found, expected, 2e-7 * std::max(1.0, std::abs(expected))) << name << " at " << i;
  }
}

struct GradientCase {
  std::string attention;
  Pass pass;
};

using NewWeights = std::function<TrainedWeights()>;

class DitGradient : public testing::TestWithParam<GradientCase> {};

TEST_P(DitGradient, WeightsAgreeWithDifferences) {
  const TrainingPass pass(GetParam().attention, GetParam().pass);
  TrainedWeights weights = trained_weights(pass.config);
  // No input requires a gradient: the weights must get theirs all the same.
  const at::Tensor loss = pass.loss(weights, GradMode::kFull, Recompute::kBlock);
  ASSERT_TRUE(loss.requires_grad());
  loss.backward();
  const auto tensors = weights.tensors();
  for (const auto& [name, gradient] : weights.gradients()) {
    expect_numeric(name, tensors.at(name), gradient, [&] {
      return pass.loss(weights, GradMode::kNone, Recompute::kNone).item<double>();
    });
  }
}

TEST_P(DitGradient, InputsAgreeWithDifferences) {
  TrainingPass pass(GetParam().attention, GetParam().pass);
  FrozenWeights frozen(pass.config, drawn_weights(pass.config), "drawn", at::kCPU, at::kDouble);
  std::map<std::string, at::Tensor> inputs = {{"latents", pass.inputs.latents_BFCHW},
                                              {"text", pass.inputs.text_BTE}};
  if (pass.clean.defined()) inputs["clean"] = pass.clean;
  for (size_t layer = 0; layer < pass.window.size(); ++layer) {
    inputs["content " + std::to_string(layer)] = pass.window[layer].content;
    inputs["key " + std::to_string(layer)] = pass.window[layer].key;
  }
  for (auto& [name, input] : inputs) input.requires_grad_();
  // Frozen weights throw when they are handed a gradient: kInput must not try.
  pass.loss(frozen, GradMode::kInput, Recompute::kBlock).backward();
  for (auto& [name, input] : inputs) {
    const at::Tensor gradient = input.grad();
    expect_numeric(name, input.detach(), gradient, [&] {
      return pass.loss(frozen, GradMode::kNone, Recompute::kNone).item<double>();
    });
  }
}

void expect_recompute_changes_no_bit(TrainingPass& pass, const NewWeights& new_weights) {
  pass.inputs.latents_BFCHW.requires_grad_();
  struct Result {
    at::Tensor loss, latents;
    std::map<std::string, at::Tensor> weights;
  };
  const auto run = [&](Recompute recompute) {
    TrainedWeights weights = new_weights();
    pass.inputs.latents_BFCHW.mutable_grad() = at::Tensor();
    const at::Tensor loss = pass.loss(weights, GradMode::kFull, recompute);
    loss.backward();
    return Result{loss, pass.inputs.latents_BFCHW.grad(), weights.gradients()};
  };
  const Result kept = run(Recompute::kNone);
  for (const Recompute recompute : {Recompute::kSelective, Recompute::kBlock}) {
    const Result recomputed = run(recompute);
    EXPECT_TRUE(bit_equal(kept.loss, recomputed.loss));
    EXPECT_TRUE(bit_equal(kept.latents, recomputed.latents));
    for (const auto& [name, gradient] : kept.weights) {
      EXPECT_TRUE(bit_equal(gradient, recomputed.weights.at(name))) << name;
    }
  }
  // Nor does recording for a gradient change the result.
  TrainedWeights weights = new_weights();
  EXPECT_TRUE(bit_equal(pass.loss(weights, GradMode::kNone, Recompute::kNone), kept.loss.detach()));
}

TEST_P(DitGradient, RecomputeChangesNoBit) {
  TrainingPass pass(GetParam().attention, GetParam().pass);
  expect_recompute_changes_no_bit(pass, [&] { return trained_weights(pass.config); });
  TrainingPass single(GetParam().attention, GetParam().pass);
  single.to_single();
  for (const auto compute : {at::kFloat, at::kBFloat16}) {
    single.inputs.latents_BFCHW = single.inputs.latents_BFCHW.detach();
    for (LayerKv& kv : single.window) kv = {kv.content.to(compute), kv.key.to(compute)};
    expect_recompute_changes_no_bit(single, [&] {
      return TrainedWeights(
          single.config, drawn_weights(single.config), "drawn", at::kCPU, compute);
    });
  }
}

TEST_P(DitGradient, KeptTextIsNotForTraining) {
  TrainingPass pass(GetParam().attention, GetParam().pass);
  TrainedWeights weights = trained_weights(pass.config);
  PassCache text;
  const ForwardOptions options{.grad = GradMode::kFull, .pass_cache = &text};
  EXPECT_THROW(dit_forward({pass.config, weights}, pass.inputs, pass.plan, pass.window, options),
               c10::Error);
}

// A rollout asks for the same prompt over and over: once its keys and values are kept, the text is
// not even read.
TEST_P(DitGradient, KeptTextStandsForTheText) {
  const TrainingPass pass(GetParam().attention, GetParam().pass);
  TinyNetwork net(pass.config);
  DitInputs inputs = pass.inputs;
  if (pass.clean.defined()) inputs = tiny_inputs(pass.config, pass.plan.plan.sequence_frames());
  PassCache text;
  const auto flow = [&] {
    return dit_forward(net.network(), inputs, pass.plan, pass.window, {.pass_cache = &text})
        .flow_BFCHW;
  };
  const at::Tensor first = flow();
  EXPECT_EQ(text.text.size(), static_cast<size_t>(pass.config.num_layers));
  inputs.text_BTE = at::full_like(inputs.text_BTE, std::numeric_limits<double>::quiet_NaN());
  EXPECT_TRUE(bit_equal(flow(), first));
}

TEST_P(DitGradient, InputModeLeavesTheWeightsAlone) {
  TrainingPass pass(GetParam().attention, GetParam().pass);
  TrainedWeights weights = trained_weights(pass.config);
  EXPECT_FALSE(pass.loss(weights, GradMode::kInput, Recompute::kNone).requires_grad());
  pass.inputs.latents_BFCHW.requires_grad_();
  pass.loss(weights, GradMode::kInput, Recompute::kNone).backward();
  EXPECT_GT(pass.inputs.latents_BFCHW.grad().abs().max().item<double>(), 0.0);
  for (const auto& [name, gradient] : weights.gradients()) {
    EXPECT_EQ(gradient.abs().max().item<double>(), 0.0) << name;
  }
}

std::vector<GradientCase> gradient_cases() {
  std::vector<GradientCase> cases;
  for (const char* attention : {"dense", "mla"}) {
    for (const Pass pass : {Pass::kBidirectional, Pass::kTeacherForcing, Pass::kCached}) {
      cases.push_back({attention, pass});
    }
  }
  return cases;
}

std::string case_name(const testing::TestParamInfo<GradientCase>& test) {
  const char* passes[] = {"bidirectional", "teacher_forcing", "cached"};
  return test.param.attention + "_" + passes[static_cast<int>(test.param.pass)];
}

INSTANTIATE_TEST_SUITE_P(All, DitGradient, testing::ValuesIn(gradient_cases()), case_name);

/// The doubled sequence of docs/algorithms.md 3.4 without any cut: all F clean and all F noisy
/// frames pass every layer and the head. One rectangle a frame pair, no windows.
AttentionPlan doubled_plan(int64_t n, int64_t num_frames) {
  AttentionPlan plan;
  for (const int64_t half : {0, 1}) {
    for (int64_t f = 0; f < num_frames; ++f) {
      plan.query_times.push_back(f);
      for (int64_t k = 0; k < num_frames; ++k) {
        const bool own_chunk = k / n == f / n;
        if (k / n > f / n) continue;
        const int64_t key = half == 1 && own_chunk ? num_frames + k : k;
        plan.rects.push_back({half * num_frames + f, 1, key, 1, 0});
      }
    }
  }
  plan.key_times = plan.query_times;
  return plan;
}

class TeacherForcingCut : public testing::TestWithParam<const char*> {};

TEST_P(TeacherForcingCut, LosesNothing) {
  const ModelConfig config = tiny_causal(GetParam(), 2, -1, 0);
  const int64_t frames = 6;
  const DitInputs noisy = tiny_inputs(config, frames);
  const at::Tensor clean = draw("clean", noisy.latents_BFCHW.sizes());

  TrainedWeights cut = trained_weights(config), whole = trained_weights(config);
  const at::Tensor flow =
      teacher_forcing_forward({config, cut},
                              clean,
                              noisy,
                              prepared(config, teacher_forcing_plan(config, frames)),
                              {.grad = GradMode::kFull});
  const DitInputs both = {at::cat({clean, noisy.latents_BFCHW}, 1),
                          at::cat({at::zeros_like(noisy.timesteps_BF), noisy.timesteps_BF}, 1),
                          noisy.text_BTE};
  const at::Tensor doubled = dit_forward({config, whole},
                                         both,
                                         prepared(config, doubled_plan(2, frames)),
                                         {},
                                         {.grad = GradMode::kFull})
                                 .flow_BFCHW.narrow(1, frames, frames);
  // The same sums in another order.
  EXPECT_LT(max_difference(flow, doubled), 1e-11);
  TrainingPass::weighted(flow, "flow").backward();
  TrainingPass::weighted(doubled, "flow").backward();
  const auto expected = whole.gradients();
  for (const auto& [name, gradient] : cut.gradients()) {
    const double size = std::max(1.0, expected.at(name).abs().max().item<double>());
    EXPECT_LT(max_difference(gradient, expected.at(name)) / size, 1e-11) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(All,
                         TeacherForcingCut,
                         testing::Values("dense", "mla"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace vmla::model
