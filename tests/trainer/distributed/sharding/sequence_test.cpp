#include "tests/model/tiny_network.h"
#include "tests/support/tensor_match.h"
#include "tests/trainer/distributed/sharding/on_slices.h"
#include "trainer/distributed/collectives/thread_communicator.h"
#include "trainer/distributed/sharding/sequence_ranks.h"

#include "model/io/error.h"
#include "model/network/sequence_slices.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

/// One forward and backward, shared by ranks that hold slices of the tokens, against one rank.
namespace vmla::distributed {
namespace {

using model::GradMode;
using model::LayerKv;
using model::ModelConfig;
using testing::HasSubstr;

// In fp64 sums of some ten to a hundred terms in another order: 1e-15 each, enlarged by two layers.
constexpr double kTolerance = 1e-12;
// Gradients add over all tokens and frames besides, and cancel.
constexpr double kGradientTolerance = 1e-11;

enum class Pass { kBidirectional, kChunkCausal, kTeacherForcing, kCached };

struct Case {
  const char* attention;
  Pass pass;
  int64_t ranks, cols;  // a frame is 2 x cols tokens
  int64_t heads = 2;
  model::LatentForm form = model::LatentForm::kExpanded;
};

ModelConfig config_of(const Case& c) {
  ModelConfig config = model::tiny_causal(c.attention, 2, 4, 1);
  if (c.attention == std::string("dense")) config.num_heads = c.heads;
  return config;
}

/// Inputs, plan and window of a pass, and the loss on its flow.
class TrainingPass {
 public:
  explicit TrainingPass(const Case& c) : case_(c), config_(config_of(c)) {
    const auto plan = [&](const model::AttentionPlan& p) {
      return model::prepare_plan(config_, p, {2, c.cols}, at::kDouble);
    };
    const int64_t frames = c.pass == Pass::kBidirectional ? 3 : c.pass == Pass::kCached ? 2 : 6;
    inputs_ = inputs_on_grid(config_, 3, frames, c.cols);
    switch (c.pass) {
      case Pass::kBidirectional:
        plan_ = plan(model::bidirectional_plan(frames));
        break;
      case Pass::kChunkCausal:
        plan_ = plan(model::chunk_causal_plan(config_, frames));
        break;
      case Pass::kTeacherForcing:
        plan_ = plan(model::teacher_forcing_plan(config_, frames));
        break;
      case Pass::kCached:
        plan_ = plan(model::cached_plan(config_, {3, 0}, 4, frames));
        break;
    }
  }

  const ModelConfig& config() const { return config_; }

  Tensors run(const model::Network& network,
              model::TrainedWeights& weights,
              GradMode grad,
              model::Recompute recompute) const {
    at::Tensor latents = inputs_.latents_BFCHW.clone().requires_grad_();
    const model::DitInputs inputs{latents, inputs_.timesteps_BF, inputs_.text_BTE};
    const model::ForwardOptions options{.grad = grad, .recompute = recompute, .form = case_.form};
    Tensors result;
    at::Tensor flow;
    if (case_.pass == Pass::kTeacherForcing) {
      at::Tensor clean = model::draw("clean", latents.sizes()).requires_grad_();
      flow = model::teacher_forcing_forward(network, clean, inputs, plan_, options);
      backward(flow, grad);
      if (grad != GradMode::kNone) result["clean gradient"] = clean.grad();
    } else {
      const std::vector<LayerKv> window = window_of(network);
      flow = model::dit_forward(network, inputs, plan_, window, options).flow_BFCHW;
      backward(flow, grad);
    }
    result["flow"] = flow.detach();
    if (grad != GradMode::kNone) result["latents gradient"] = latents.grad();
    if (grad == GradMode::kFull) result.merge(gradient_parts(weights));
    return result;
  }

 private:
  static void backward(const at::Tensor& flow, GradMode grad) {
    if (grad == GradMode::kNone) return;
    (flow * model::draw("loss", flow.sizes())).sum().backward();
  }

  /// Two drawn frames a layer; of the rank's own heads where tokens are exchanged for heads.
  std::vector<LayerKv> window_of(const model::Network& network) const {
    std::vector<LayerKv> window;
    if (case_.pass != Pass::kCached) return window;
    const bool own_heads =
        network.sequence && model::attention_exchange(config_, network.sequence->size()) ==
                                model::AttentionExchange::kHeads;
    const int64_t parts = own_heads ? network.sequence->size() : 1;
    const int64_t index = own_heads ? network.sequence->index() : 0;
    for (int64_t layer = 0; layer < config_.num_layers; ++layer) {
      const model::LayerDims d = model::layer_dims(config_, layer);
      const auto drawn = [&](const std::string& name, int64_t width) {
        const at::Tensor whole =
            model::draw(name + std::to_string(layer), {3, 4 * case_.cols, width});
        return whole.narrow(2, index * width / parts, width / parts);
      };
      window.push_back({drawn("content", config_.is_mla() ? d.kv_rank : d.dim),
                        drawn("key", config_.is_mla() ? d.rope : d.dim)});
    }
    return window;
  }

  Case case_;
  ModelConfig config_;
  model::PreparedPlan plan_;
  model::DitInputs inputs_;
};

class SequenceParallel : public testing::TestWithParam<Case> {};

TEST_P(SequenceParallel, ComputesWhatOneRankComputes) {
  const TrainingPass pass(GetParam());
  for (const GradMode grad : {GradMode::kNone, GradMode::kInput, GradMode::kFull}) {
    for (const auto& [name, recompute] : model::kRecomputeNames) {
      if (grad != GradMode::kFull && recompute != model::Recompute::kNone) continue;
      const RankWork work = [&](const model::Network& network, model::TrainedWeights& weights) {
        return pass.run(network, weights, grad, recompute);
      };
      const Tensors whole = on_slices(pass.config(), 1, work)[0];
      const auto parts = on_slices(pass.config(), GetParam().ranks, work);
      expect_as_one_rank(parts, whole, kTolerance, kGradientTolerance);
    }
  }
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const Pass pass :
       {Pass::kBidirectional, Pass::kChunkCausal, Pass::kTeacherForcing, Pass::kCached}) {
    all.push_back({"mla", pass, 2, 3});
    all.push_back({"mla", pass, 3, 3});
    all.push_back({"mla", pass, 4, 4});
    all.push_back({"mla", pass, 2, 3, 2, model::LatentForm::kAbsorbed});
    all.push_back({"dense", pass, 2, 3});     // a head each
    all.push_back({"dense", pass, 3, 3});     // keys and values are gathered
    all.push_back({"dense", pass, 2, 3, 4});  // two heads each
    all.push_back({"dense", pass, 4, 4, 4});
    all.push_back({"dense", pass, 4, 4, 2});  // gathered
  }
  return all;
}

std::string case_name(const testing::TestParamInfo<Case>& test) {
  const Case& c = test.param;
  const char* passes[] = {"bidirectional", "chunk_causal", "teacher_forcing", "cached"};
  return formatted("{}{}{}_{}_heads_{}_ranks",
                   c.attention,
                   c.form == model::LatentForm::kAbsorbed ? "_absorbed_" : "_",
                   passes[static_cast<int>(c.pass)],
                   c.heads,
                   c.ranks);
}

INSTANTIATE_TEST_SUITE_P(All, SequenceParallel, testing::ValuesIn(cases()), case_name);

// bf16 rounds at 2^-9, and the slices round other partial sums than the whole does: fifteen
// roundings in line, which is what the deepest gradient passes, are 0.03.
TEST(SequenceParallelLowPrecision, DiffersByRoundingAlone) {
  for (const char* attention : {"mla", "dense"}) {
    const ModelConfig config = model::tiny_causal(attention, 2, -1, 0);
    const model::DitInputs inputs = model::to_float(inputs_on_grid(config, 1, 4, 3));
    const model::PreparedPlan plan =
        model::prepare_plan(config, model::chunk_causal_plan(config, 4), {2, 3}, at::kFloat);
    const auto run = [&](model::SequenceGroup* sequence) {
      model::TrainedWeights weights(
          config, model::drawn_weights(config), "drawn", at::kCPU, at::kBFloat16);
      const model::Network network{config, weights, sequence};
      const at::Tensor flow =
          model::dit_forward(network, inputs, plan, {}, {.grad = GradMode::kFull}).flow_BFCHW;
      (flow * model::draw("loss", flow.sizes()).to(at::kFloat)).sum().backward();
      Tensors result = gradient_parts(weights);
      result["flow"] = flow.detach();
      return result;
    };
    const Tensors whole = run(nullptr);
    std::vector<Tensors> parts(2);
    on_threads(2, [&](Communicator& group) {
      SequenceRanks sequence(group);
      parts[static_cast<size_t>(group.rank())] = run(&sequence);
    });
    expect_as_one_rank(parts, whole, 0.03, 0.03);
  }
}

TEST(SequenceSlices, AGroupOfOneChangesNoBit) {
  const TrainingPass pass({"mla", Pass::kTeacherForcing, 1, 3});
  const auto group = self_communicator("self");
  SequenceRanks alone(*group);
  const auto run = [&](model::SequenceGroup* sequence) {
    model::TrainedWeights weights(pass.config(),
                                  model::drawn_weights(pass.config()),
                                  "drawn",
                                  at::kCPU,
                                  at::kDouble,
                                  at::kDouble);
    const model::Network network{pass.config(), weights, sequence};
    return pass.run(network, weights, GradMode::kFull, model::Recompute::kNone);
  };
  const Tensors with = run(&alone), without = run(nullptr);
  for (const auto& [name, tensor] : without)
    EXPECT_TRUE(tests::same_bits(with.at(name), tensor)) << name;
}

TEST(SequenceSlices, ARankThatDiesInBackwardFailsTheOthers) {
  const TrainingPass pass({"mla", Pass::kChunkCausal, 2, 3});
  try {
    on_slices(pass.config(), 2, [&](const model::Network& network, model::TrainedWeights& weights) {
      if (network.sequence->index() == 0)
        return pass.run(network, weights, GradMode::kFull, model::Recompute::kBlock);
      pass.run(network,
               weights,
               GradMode::kNone,
               model::Recompute::kNone);  // the exchanges of the forward
      throw std::out_of_range("rank 1 is broken");
    });
    FAIL() << "nothing was thrown";
  } catch (const std::out_of_range& error) {
    EXPECT_THAT(error.what(), HasSubstr("rank 1"));
  }
}

TEST(SequenceSlices, AFrameThatCannotBeSharedIsTheUsersError) {
  const TrainingPass pass({"mla", Pass::kBidirectional, 4, 3});
  try {
    on_slices(pass.config(), 4, [&](const model::Network& network, model::TrainedWeights& weights) {
      return pass.run(network, weights, GradMode::kNone, model::Recompute::kNone);
    });
    FAIL() << "nothing was thrown";
  } catch (const UserError& error) {
    EXPECT_STREQ(error.what(),
                 "distributed.sequence_parallel_size: 4 ranks cannot share the 2x3 = 6 tokens of a "
                 "latent frame (latents 4x6) equally: 3 or 6 ranks can");
  }
  const ModelConfig wan;
  EXPECT_NO_THROW(model::check_sequence_slices(wan, 60, 104, 8));
  EXPECT_THROW(model::check_sequence_slices(wan, 60, 104, 16), UserError);
  EXPECT_THROW(model::check_sequence_slices(wan, 60, 104, 0), UserError);
  EXPECT_THROW(model::check_sequence_slices(wan, 60, 104, 2000), UserError);
}

}  // namespace
}  // namespace vmla::distributed
