#include "model/sampling/self_rollout.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "model/network/attention_plan.h"
#include "model/sampling/flow_match_schedule.h"
#include "tests/model/tiny_network.h"
#include "tests/model/tiny_rollout.h"
#include "tests/support/tensor_match.h"

/// The training rollout against the sampler, and its two gradients against central differences of
/// what they are the derivatives of.
namespace vmla::model {
namespace {

struct Case {
  const char* name;
  const char* attention;
  int64_t chunk, window, sink, frames;
  bool independent_first_frame = false;
  bool other_first_schedule = false;
  double context_noise = 0;
};

ModelConfig config_of(const Case& c) {
  ModelConfig config = tiny_causal(c.attention, c.chunk, c.window, c.sink);
  config.independent_first_frame = c.independent_first_frame;
  return config;
}

const std::vector<double> kSteps = {1000, 750, 500, 250}, kFirstSteps = {1000, 400};

/// Two samples; exit after pass `exit_index` of the four (of the first chunk's two at most after
/// the second).
SelfRolloutRequest request_of(const Case& c, const ModelConfig& config, int64_t exit_index) {
  const std::vector<int64_t> sizes = {2, c.frames, config.in_dim, kTinyHeight, kTinyWidth};
  SelfRolloutRequest r;
  r.text_BTE = draw("text", {2, config.text_len - 2, config.text_dim});
  r.noise_BFCHW = draw("noise", sizes);
  r.renoise_KBFCHW =
      at::stack({draw("again0", sizes), draw("again1", sizes), draw("again2", sizes)});
  r.schedule = {warped_step_list(kSteps, 5.0), exit_index};
  r.first_schedule = r.schedule;
  if (c.other_first_schedule)
    r.first_schedule = {warped_step_list(kFirstSteps, 5.0), std::min<int64_t>(exit_index, 1)};
  r.context_timestep = c.context_noise;
  r.context_sigma = c.context_noise / 1000.0;
  r.context_noise_BFCHW = draw("context", sizes);
  return r;
}

class SelfRolloutOf : public testing::TestWithParam<Case> {};

TEST_P(SelfRolloutOf, IsWhatTheFewStepSamplerSamples) {
  const Case& c = GetParam();
  TinyNetwork net(config_of(c));
  RolloutRequest sampled = tiny_rollout(net.config, c.frames);
  SamplerSettings sampler = tiny_sampler(SamplerKind::kFewStep);
  sampler.denoising_step_list = kSteps;
  if (c.other_first_schedule) sampler.first_chunk_denoising_step_list = kFirstSteps;
  sampler.context_noise = c.context_noise;
  const at::Tensor video = sampled_video(net.network(), sampled, sampler);

  SelfRolloutRequest request = request_of(c, net.config, 3);
  const auto frames = [&](const std::function<at::Tensor(int64_t)>& frame) {
    std::vector<at::Tensor> all;
    for (int64_t f = 0; f < c.frames; ++f) all.push_back(frame(f));
    return at::stack(all, 1);
  };
  request.text_BTE = sampled.text_BTE;
  request.noise_BFCHW = frames(sampled.frame_noise);
  std::vector<at::Tensor> again;
  for (int64_t k = 0; k < 3; ++k)
    again.push_back(frames([&](int64_t frame) { return sampled.frame_renoise(frame, k); }));
  request.renoise_KBFCHW = at::stack(again);
  // Sampling tells the network of context noise but adds none (docs/algorithms.md 6.3).
  request.context_sigma = 0;
  PlanCache plans;
  const SelfRollout rollout = self_rollout(net.network(), request, plans);
  EXPECT_LT(relative_difference(rollout.latents_BFCHW, video), kRolloutTolerance);
}

/// Weights that collect gradients, in fp64 or fp32.
struct TrainedNetwork {
  TrainedNetwork(const ModelConfig& c, at::ScalarType dtype = at::kDouble)
      : config(c), weights(config, drawn_weights(config), "drawn", at::kCPU, dtype, dtype) {}
  Network network() { return {config, weights}; }
  std::map<std::string, at::Tensor> gradients() const {
    std::map<std::string, at::Tensor> copy;
    for (const auto& [name, gradient] : weights.gradients()) copy[name] = gradient.clone();
    return copy;
  }
  ModelConfig config;
  TrainedWeights weights;
};

void to_dtype(SelfRolloutRequest& r, at::ScalarType dtype) {
  for (at::Tensor* t : {&r.text_BTE, &r.noise_BFCHW, &r.renoise_KBFCHW, &r.context_noise_BFCHW}) {
    *t = t->to(dtype);
  }
}

TEST_P(SelfRolloutOf, IsReplayedToTheBit) {
  const Case& c = GetParam();
  for (const auto dtype : {at::kDouble, at::kFloat}) {
    TrainedNetwork net(config_of(c), dtype);
    SelfRolloutRequest request = request_of(c, net.config, 2);
    to_dtype(request, dtype);
    PlanCache plans;
    const SelfRollout rollout = self_rollout(net.network(), request, plans);
    for (const auto& [name, recompute] : kRecomputeNames) {
      for (const ExitPass& pass : rollout.passes) {
        const at::Tensor again =
            replay_exit_pass(net.network(),
                             pass,
                             request.text_BTE,
                             {.grad = GradMode::kFull, .recompute = recompute});
        EXPECT_TRUE(tests::same_bits(
            again, rollout.latents_BFCHW.narrow(1, pass.first_frame, pass.noisy_BFCHW.size(1))));
      }
    }
  }
}

/// A fixed, irregular pull on every element of a rollout.
at::Tensor pull_on(const at::Tensor& latents) {
  return at::cos(at::arange(latents.numel(), at::kDouble) * 1.7 + 0.3)
      .view(latents.sizes())
      .to(latents.scalar_type());
}

/// Gradients of sum(rollout * pull) with the chunks replayed one at a time.
std::map<std::string, at::Tensor> replayed_gradients(TrainedNetwork& net,
                                                     const SelfRolloutRequest& request,
                                                     const std::vector<size_t>& order,
                                                     Recompute recompute) {
  PlanCache plans;
  const SelfRollout rollout = self_rollout(net.network(), request, plans);
  const at::Tensor pull = pull_on(rollout.latents_BFCHW);
  net.weights.zero_gradients();
  for (const size_t chunk : order) {
    const ExitPass& pass = rollout.passes.at(chunk);
    const at::Tensor x = replay_exit_pass(
        net.network(), pass, request.text_BTE, {.grad = GradMode::kFull, .recompute = recompute});
    (x * pull.narrow(1, pass.first_frame, x.size(1))).sum().backward();
  }
  return net.gradients();
}

std::vector<size_t> in_order(const ModelConfig& config, int64_t frames) {
  std::vector<size_t> order(chunk_sizes(config, frames).size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  return order;
}

TEST_P(SelfRolloutOf, RecomputesItsBlocksToTheBit) {
  const Case& c = GetParam();
  for (const auto dtype : {at::kDouble, at::kFloat}) {
    TrainedNetwork net(config_of(c), dtype);
    SelfRolloutRequest request = request_of(c, net.config, 1);
    to_dtype(request, dtype);
    const auto order = in_order(net.config, c.frames);
    const auto kept = replayed_gradients(net, request, order, Recompute::kNone);
    for (const Recompute recompute : {Recompute::kSelective, Recompute::kBlock}) {
      const auto again = replayed_gradients(net, request, order, recompute);
      for (const auto& [name, gradient] : kept)
        EXPECT_TRUE(tests::same_bits(again.at(name), gradient)) << name;
    }
  }
}

/// A rollout written down a second time, as plainly as it can be: keys and values of every frame
/// are kept by frame, and the attended set is sink ∪ last (window − sink).
class ByHand {
 public:
  using FrameKv = std::vector<LayerKv>;  // by layer

  ByHand(const Case& c, const SelfRolloutRequest& request, const Network& network)
      : c_(c), request_(request), config_(network.config) {
    std::vector<FrameKv> seen;
    for_chunks([&](int64_t first, int64_t count) {
      const ExitSchedule& s = first == 0 ? request_.first_schedule : request_.schedule;
      at::Tensor x = request_.noise_BFCHW.narrow(1, first, count);
      for (int64_t k = 0;; ++k) {
        const double t = s.timesteps[static_cast<size_t>(k)];
        const DitOutputs out = pass(network, x, t, first, seen);
        const at::Tensor x0 = x - (t / 1000.0) * out.flow_BFCHW;
        if (k < s.exit_index) {
          const double next = s.timesteps[static_cast<size_t>(k + 1)] / 1000.0;
          x = (1 - next) * x0 + next * request_.renoise_KBFCHW[k].narrow(1, first, count);
          continue;
        }
        noisy_.push_back(x);
        times_.push_back(t);
        latents_.push_back(x0);
        add_frames(exit_kv_, out.kv, count);
        const at::Tensor context =
            (1 - request_.context_sigma) * x0 +
            request_.context_sigma * request_.context_noise_BFCHW.narrow(1, first, count);
        add_frames(seen, pass(network, context, request_.context_timestep, first, seen).kv, count);
        return;
      }
    });
    context_kv_ = seen;
  }

  at::Tensor latents() const { return at::cat(latents_, 1); }

  /// The exit passes under other weights, everything else as it was. A cached frame from
  /// `first_moving` on moves with the exit pass that made it when `moves`; all others stay.
  at::Tensor exit_passes(const Network& network, bool moves, int64_t first_moving) const {
    std::vector<FrameKv> seen;
    std::vector<at::Tensor> outputs;
    size_t chunk = 0;
    for_chunks([&](int64_t first, int64_t count) {
      const DitOutputs out = pass(network, noisy_[chunk], times_[chunk], first, seen);
      outputs.push_back(first < first_moving
                            ? latents_[chunk]
                            : noisy_[chunk] - (times_[chunk] / 1000.0) * out.flow_BFCHW);
      std::vector<FrameKv> own;
      add_frames(own, out.kv, count);
      for (int64_t f = 0; f < count; ++f) {
        const auto at = static_cast<size_t>(first + f);
        FrameKv kv = context_kv_[at];
        for (size_t layer = 0; moves && first >= first_moving && layer < kv.size(); ++layer) {
          const LayerKv &now = own[static_cast<size_t>(f)][layer], &then = exit_kv_[at][layer];
          kv[layer] = {kv[layer].content + (now.content - then.content),
                       kv[layer].key + (now.key - then.key)};
        }
        seen.push_back(kv);
      }
      ++chunk;
    });
    return at::cat(outputs, 1);
  }

 private:
  template <class F>
  void for_chunks(F f) const {
    int64_t first = 0;
    while (first < c_.frames) {
      const int64_t count = first == 0 && c_.independent_first_frame ? 1 : c_.chunk;
      f(first, count);
      first += count;
    }
  }

  static void add_frames(std::vector<FrameKv>& frames, const FrameKv& chunk, int64_t count) {
    for (int64_t f = 0; f < count; ++f) {
      FrameKv kv;
      for (const LayerKv& layer : chunk) {
        kv.push_back({layer.content.narrow(1, f * kTinyTokens, kTinyTokens),
                      layer.key.narrow(1, f * kTinyTokens, kTinyTokens)});
      }
      frames.push_back(kv);
    }
  }

  DitOutputs pass(const Network& network,
                  const at::Tensor& x,
                  double timestep,
                  int64_t first,
                  const std::vector<FrameKv>& seen) const {
    const int64_t count = x.size(1);
    std::vector<int64_t> frames;
    for (int64_t f = 0; f < first; ++f) {
      if (c_.window < 0 || f < c_.sink || f >= first + count - (c_.window - c_.sink))
        frames.push_back(f);
    }
    std::vector<LayerKv> window;
    for (size_t layer = 0; !frames.empty() && layer < seen[0].size(); ++layer) {
      std::vector<at::Tensor> content, key;
      for (const int64_t f : frames) {
        content.push_back(seen[static_cast<size_t>(f)][layer].content);
        key.push_back(seen[static_cast<size_t>(f)][layer].key);
      }
      window.push_back({at::cat(content, 1), at::cat(key, 1)});
    }
    const DitInputs inputs{x, at::full({2, count}, timestep, at::kDouble), request_.text_BTE};
    return dit_forward(network,
                       inputs,
                       prepared(config_, cached_plan(config_, frames, first, count)),
                       window,
                       {.keep_kv = true});
  }

  const Case& c_;
  const SelfRolloutRequest& request_;
  const ModelConfig config_;
  std::vector<at::Tensor> noisy_, latents_;
  std::vector<double> times_;
  std::vector<FrameKv> context_kv_, exit_kv_;
};

/// sum over tensors of gradient · direction, where direction is drawn by name.
double along(const std::map<std::string, at::Tensor>& gradients) {
  double sum = 0;
  for (const auto& [name, g] : gradients) {
    sum += (g * draw("direction of " + name, g.sizes())).sum().item<double>();
  }
  return sum;
}

/// The same derivative by central differences of fourth order of sum(exit passes * pull): with h =
/// 1e-4 the truncation error is h^4 times a fifth derivative, and rounding 1e-16 * some hundreds /
/// h = 1e-10; 1e-6 of the derivative, which is around 1, allows for fifth derivatives of 1e10.
double numeric_along(const ByHand& hand, const ModelConfig& config, bool moves, int64_t from) {
  const auto value = [&](double h) {
    auto moved = drawn_weights(config);
    for (auto& [name, w] : moved) w = w + h * draw("direction of " + name, w.sizes());
    FrozenWeights weights(config, moved, "moved", at::kCPU, at::kDouble);
    const at::Tensor x = hand.exit_passes({config, weights}, moves, from);
    return (x * pull_on(x)).sum().item<double>();
  };
  constexpr double kStep = 1e-4;
  const double near = value(kStep) - value(-kStep), far = value(2 * kStep) - value(-2 * kStep);
  return (8 * near - far) / (12 * kStep);
}
constexpr double kDerivativeTolerance = 1e-6;

TEST_P(SelfRolloutOf, BackPropagatesItsExitPassesAgainstAConstantCache) {
  const Case& c = GetParam();
  TrainedNetwork net(config_of(c));
  const SelfRolloutRequest request = request_of(c, net.config, 1);
  const ByHand hand(c, request, net.network());
  PlanCache plans;
  EXPECT_LT(relative_difference(self_rollout(net.network(), request, plans).latents_BFCHW,
                                hand.latents()),
            kRolloutTolerance);
  const double exact =
      along(replayed_gradients(net, request, in_order(net.config, c.frames), Recompute::kNone));
  const double numeric = numeric_along(hand, net.config, false, 0);
  EXPECT_NEAR(exact, numeric, kDerivativeTolerance * std::abs(numeric));
}

TEST_P(SelfRolloutOf, StraightThroughMovesCachedKeysWithTheirExitPasses) {
  const Case& c = GetParam();
  TrainedNetwork net(config_of(c));
  const SelfRolloutRequest request = request_of(c, net.config, 1);
  const ByHand hand(c, request, net.network());
  const double detached = numeric_along(hand, net.config, false, 0);
  for (const int64_t from : {int64_t{0}, c.chunk}) {
    if (from > 0 && c.independent_first_frame) continue;
    PlanCache plans;
    net.weights.zero_gradients();
    const at::Tensor x = self_rollout_straight_through(
        net.network(), request, plans, from, {.grad = GradMode::kFull});
    EXPECT_LT(relative_difference(x.detach(), hand.latents()), kRolloutTolerance);
    (x * pull_on(x)).sum().backward();
    const double exact = along(net.gradients());
    const double numeric = numeric_along(hand, net.config, true, from);
    EXPECT_NEAR(exact, numeric, kDerivativeTolerance * std::abs(numeric)) << "from " << from;
    // Otherwise this test could not tell the two kinds of gradient apart.
    EXPECT_GT(std::abs(numeric - detached), 1e-3 * std::abs(detached));
  }
}

/// One graph over all replayed chunks, back-propagated at once: the same sums in another order, of
/// a few hundred fp64 terms.
TEST_P(SelfRolloutOf, BackPropagatesOneChunkAtATimeInAnyOrder) {
  const Case& c = GetParam();
  TrainedNetwork net(config_of(c));
  const SelfRolloutRequest request = request_of(c, net.config, 2);
  auto order = in_order(net.config, c.frames);
  const auto forwards = replayed_gradients(net, request, order, Recompute::kNone);
  std::reverse(order.begin(), order.end());
  const auto backwards = replayed_gradients(net, request, order, Recompute::kNone);

  PlanCache plans;
  const SelfRollout rollout = self_rollout(net.network(), request, plans);
  net.weights.zero_gradients();
  std::vector<at::Tensor> parts;
  for (const ExitPass& pass : rollout.passes) {
    parts.push_back(
        replay_exit_pass(net.network(), pass, request.text_BTE, {.grad = GradMode::kFull}));
  }
  const at::Tensor joint = at::cat(parts, 1);
  (joint * pull_on(joint)).sum().backward();
  for (const auto& [name, gradient] : net.gradients()) {
    EXPECT_TRUE(tests::near_max(forwards.at(name), gradient, 1e-12)) << name;
    EXPECT_TRUE(tests::near_max(backwards.at(name), gradient, 1e-12)) << name;
  }
}

/// Replayed chunks give no gradient to the inputs of earlier chunks.
TEST_P(SelfRolloutOf, NoGradientReachesEarlierChunks) {
  const Case& c = GetParam();
  TrainedNetwork net(config_of(c));
  SelfRolloutRequest request = request_of(c, net.config, 1);
  request.noise_BFCHW.requires_grad_(true);
  request.renoise_KBFCHW.requires_grad_(true);
  PlanCache plans;
  const SelfRollout rollout = self_rollout(net.network(), request, plans);
  EXPECT_FALSE(rollout.latents_BFCHW.requires_grad());
  ExitPass last = rollout.passes.back();
  for (const LayerKv& layer : last.window.layers)
    EXPECT_FALSE(layer.content.requires_grad() || layer.key.requires_grad());
  last.noisy_BFCHW = last.noisy_BFCHW.detach().requires_grad_(true);
  replay_exit_pass(net.network(), last, request.text_BTE, {.grad = GradMode::kFull})
      .sum()
      .backward();
  EXPECT_FALSE(request.noise_BFCHW.grad().defined());
  EXPECT_FALSE(request.renoise_KBFCHW.grad().defined());
  EXPECT_GT(last.noisy_BFCHW.grad().abs().max().item<double>(), 0);  // its own input is reached
}

// More chunks than the window holds, so that frames are evicted and the sink stands apart.
INSTANTIATE_TEST_SUITE_P(Cases,
                         SelfRolloutOf,
                         testing::Values(Case{"dense_frames", "dense", 1, 3, 1, 6},
                                         Case{"dense_chunks", "dense", 2, 5, 1, 8},
                                         Case{"mla_frames", "mla", 1, 3, 1, 6, false, true},
                                         Case{"mla_chunks", "mla", 2, 5, 1, 8, false, true, 40.0},
                                         Case{"mla_first_frame", "mla", 2, 5, 1, 7, true},
                                         Case{"mla_all_frames", "mla", 2, -1, 0, 4}),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(SelfRollout, LooksSigmaUpInATableWhenAsked) {
  SelfRolloutRequest request;
  EXPECT_DOUBLE_EQ(request.sigma(5.0), 0.005);
  request.quantized_sigmas = training_sigmas(5.0);
  // The least entry of the table of shift 5: 5 / (999 + 5) (docs/algorithms.md 7.2).
  EXPECT_NEAR(request.sigma(0.0), 5.0 / 1004.0, 1e-12);
}

TEST(SelfRollout, StopsEveryChunkAtItsExitStep) {
  const Case c{"", "dense", 2, 5, 1, 6, false, true};
  TinyNetwork net(config_of(c));
  const auto passes_of = [&](int64_t exit_index) {
    PlanCache plans;
    return self_rollout(net.network(), request_of(c, net.config, exit_index), plans).passes;
  };
  const auto steps = warped_step_list(kSteps, 5.0),
             first_steps = warped_step_list(kFirstSteps, 5.0);
  for (int64_t exit_index = 0; exit_index < 4; ++exit_index) {
    const auto passes = passes_of(exit_index);
    ASSERT_EQ(passes.size(), 3U);
    EXPECT_DOUBLE_EQ(passes[0].timestep,
                     first_steps[static_cast<size_t>(std::min<int64_t>(exit_index, 1))]);
    for (size_t i = 1; i < passes.size(); ++i) {
      EXPECT_DOUBLE_EQ(passes[i].timestep, steps[static_cast<size_t>(exit_index)]);
      EXPECT_DOUBLE_EQ(passes[i].sigma, passes[i].timestep / 1000.0);
    }
  }
}

}  // namespace
}  // namespace vmla::model
