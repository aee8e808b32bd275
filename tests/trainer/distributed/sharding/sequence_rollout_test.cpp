#include "model/io/error.h"
#include "model/network/cached_forward.h"
#include "model/network/sequence_slices.h"
#include "model/sampling/self_rollout.h"
#include "tests/model/tiny_rollout.h"
#include "tests/support/tensor_match.h"
#include "tests/trainer/distributed/sharding/on_slices.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

/// Caches, samplers and training rollouts over slices of the tokens, against one rank: what they
/// keep of a frame needs no other code.
namespace vmla::distributed {
namespace {

using model::GradMode;
using model::ModelConfig;

struct Case {
  const char* attention;
  int64_t ranks;
};

class SequenceRollout : public testing::TestWithParam<Case> {
 protected:
  /// Chunks of two frames, a window of five with a sink of one: frames are evicted, and the sink's
  /// keys are read at moved times.
  static ModelConfig config() { return model::tiny_causal(GetParam().attention, 2, 5, 1); }

  static void expect_as_one(const ModelConfig& config, const RankWork& work) {
    const Tensors whole = on_slices(config, 1, work)[0];
    expect_as_one_rank(on_slices(config, GetParam().ranks, work),
                       whole,
                       model::kRolloutTolerance,
                       model::kRolloutTolerance);
  }
};

TEST_P(SequenceRollout, SamplesTheSameVideo) {
  for (const auto change : {model::PromptSwitch::kFlush, model::PromptSwitch::kRecache}) {
    expect_as_one(config(), [&](const model::Network& network, model::TrainedWeights&) {
      model::RolloutRequest request = model::tiny_rollout(network.config, 10);
      request.prompt_changes = {{6, model::draw("other", {1, 4, network.config.text_dim})}};
      request.prompt_switch = change;
      const auto sampler = model::tiny_sampler(model::SamplerKind::kFewStep, /*guidance=*/2.0);
      return Tensors{{"video", model::sampled_video(network, request, sampler)}};
    });
  }
}

TEST_P(SequenceRollout, SamplesTheSameClipAtOnce) {
  expect_as_one(config(), [](const model::Network& network, model::TrainedWeights&) {
    const auto request = model::tiny_rollout(network.config, 3);
    const auto sampler = model::tiny_sampler(model::SamplerKind::kUnipc, 2.0);
    return Tensors{{"clip", model::sample_bidirectional(network, request, sampler).latents_BFCHW}};
  });
}

TEST_P(SequenceRollout, ForwardsAgainstACacheAlike) {
  expect_as_one(config(), [](const model::Network& network, model::TrainedWeights&) {
    const model::DitInputs noisy = model::tiny_inputs(network.config, 10);
    const at::Tensor clean = model::draw("clean", noisy.latents_BFCHW.sizes());
    return Tensors{{"flow", model::cached_forward(network, clean, noisy)}};
  });
}

TEST_P(SequenceRollout, KeepsAllTokensOrTheOwnHeadsOfThem) {
  const model::PreparedPlan plan = model::prepared(config(), model::bidirectional_plan(2));
  const RankWork fill = [&](const model::Network& network, model::TrainedWeights&) {
    const auto kv = model::dit_forward(network,
                                       model::tiny_inputs(network.config, 2),
                                       plan,
                                       {},
                                       {.keep_kv = true, .need_flow = false})
                        .kv;
    Tensors kept;
    for (size_t layer = 0; layer < kv.size(); ++layer) {
      kept[formatted("content {}", layer)] = kv[layer].content;
      kept[formatted("key {}", layer)] = kv[layer].key;
    }
    return kept;
  };
  const Tensors whole = on_slices(config(), 1, fill)[0];
  const int64_t ranks = GetParam().ranks;
  const bool own_heads =
      model::attention_exchange(config(), ranks) == model::AttentionExchange::kHeads;
  const auto parts = on_slices(config(), ranks, fill);
  for (int64_t rank = 0; rank < ranks; ++rank) {
    for (const auto& [name, tensor] : whole) {
      const int64_t width = tensor.size(2) / (own_heads ? ranks : 1);
      EXPECT_TRUE(tests::near_max(parts[static_cast<size_t>(rank)].at(name),
                                  tensor.narrow(2, own_heads ? rank * width : 0, width),
                                  1e-12))
          << name << " of rank " << rank;
    }
  }
}

model::SelfRolloutRequest training_request(const ModelConfig& config) {
  const std::vector<int64_t> sizes = {3, 8, config.in_dim, model::kTinyHeight, model::kTinyWidth};
  model::SelfRolloutRequest r;
  r.text_BTE = model::draw("text", {3, config.text_len - 2, config.text_dim});
  r.noise_BFCHW = model::draw("noise", sizes);
  r.renoise_KBFCHW = at::stack({model::draw("again0", sizes), model::draw("again1", sizes)});
  r.schedule = {{1000, 700, 300}, 1};
  r.first_schedule = r.schedule;
  return r;
}

void pull(const at::Tensor& latents) {
  (latents * model::draw("loss", latents.sizes())).sum().backward();
}

// Gradients of later chunks reach earlier ones through the keys and values that every rank holds.
TEST_P(SequenceRollout, TrainsThroughTheCacheAlike) {
  for (const auto& [name, recompute] : model::kRecomputeNames) {
    expect_as_one(config(), [&](const model::Network& network, model::TrainedWeights& weights) {
      model::PlanCache plans;
      const at::Tensor latents =
          model::self_rollout_straight_through(network,
                                               training_request(network.config),
                                               plans,
                                               /*first_gradient_frame=*/2,
                                               {.grad = GradMode::kFull, .recompute = recompute});
      pull(latents);
      Tensors result = gradient_parts(weights);
      result["latents"] = latents.detach();
      return result;
    });
  }
}

TEST_P(SequenceRollout, ReplaysChunksAlike) {
  expect_as_one(config(), [](const model::Network& network, model::TrainedWeights& weights) {
    model::PlanCache plans;
    const model::SelfRolloutRequest request = training_request(network.config);
    const model::SelfRollout rollout = model::self_rollout(network, request, plans);
    for (const model::ExitPass& pass : rollout.passes) {
      pull(model::replay_exit_pass(
          network,
          pass,
          request.text_BTE,
          {.grad = GradMode::kFull, .recompute = model::Recompute::kBlock}));
    }
    Tensors result = gradient_parts(weights);
    result["latents"] = rollout.latents_BFCHW;
    return result;
  });
}

INSTANTIATE_TEST_SUITE_P(All,
                         SequenceRollout,
                         testing::Values(Case{"mla", 2},
                                         Case{"mla", 3},
                                         Case{"dense", 2},   // a head each
                                         Case{"dense", 3}),  // keys and values are gathered
                         [](const auto& test) {
                           return formatted("{}_{}", test.param.attention, test.param.ranks);
                         });

}  // namespace
}  // namespace vmla::distributed
