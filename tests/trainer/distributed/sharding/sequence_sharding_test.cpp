#include "tests/model/tiny_network.h"
#include "trainer/distributed/collectives/thread_communicator.h"
#include "trainer/distributed/sharding/sequence_ranks.h"
#include "trainer/distributed/sharding/sharded_weights.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

/// Slices of the tokens and parts of the weights at once: four ranks, two clips of two ranks each,
/// weights cut over all four. Gradients are summed over the world, which adds up clips and slices.
namespace vmla::distributed {
namespace {

using model::GradMode;
using model::ModelConfig;

class CutWeights : public testing::TestWithParam<const char*> {
 protected:
  CutWeights() : config_(model::tiny_causal(GetParam(), 2, 4, 1)) {
    plan_ = model::prepared(config_, model::teacher_forcing_plan(config_, 6));
  }

  void train_on(const model::Network& network, int64_t clip, model::Recompute recompute) const {
    const std::vector<int64_t> sizes = {
        1, 6, config_.in_dim, model::kTinyHeight, model::kTinyWidth};
    const auto drawn = [&](const char* what) {
      return model::draw(what + std::to_string(clip), sizes);
    };
    const model::DitInputs noisy = {drawn("noisy"),
                                    model::draw("t" + std::to_string(clip), {1, 6}).exp(),
                                    model::draw("text", {1, 3, config_.text_dim})};
    const at::Tensor flow = model::teacher_forcing_forward(
        network, drawn("clean"), noisy, plan_, {.grad = GradMode::kFull, .recompute = recompute});
    (flow * drawn("loss")).sum().backward();
  }

  ModelConfig config_;
  model::PreparedPlan plan_;
};

TEST_P(CutWeights, GetTheGradientsOfOneProcess) {
  const auto given = model::drawn_weights(config_);
  model::TrainedWeights alone(config_, given, "drawn", at::kCPU, at::kDouble, at::kDouble);
  for (const int64_t clip : {0, 1}) train_on({config_, alone}, clip, model::Recompute::kNone);
  const auto expected = alone.gradients();

  for (const bool scatter : {false, true}) {
    const ShardingPolicy policy{.keep_gathered = false, .scatter_gradients = scatter};
    std::vector<std::vector<std::unique_ptr<Communicator>>> pairs;
    for (int64_t clip = 0; clip < 2; ++clip) pairs.push_back(thread_communicators("clip", 2));
    on_threads(4, [&](Communicator& world) {
      const int64_t clip = world.rank() / 2;
      SequenceRanks sequence(
          *pairs[static_cast<size_t>(clip)][static_cast<size_t>(world.rank() % 2)]);
      const auto nobody = self_communicator("replica");
      ShardedWeights weights({.config = config_,
                              .tensors = given,
                              .source = "drawn",
                              .home = at::kCPU,
                              .compute_dtype = at::kDouble,
                              .master_dtype = at::kDouble,
                              .with_gradients = true,
                              .policy = policy,
                              .shard = world,
                              .replica = *nobody});
      weights.begin_last_backward();
      train_on({config_, weights, &sequence}, clip, model::Recompute::kBlock);
      weights.finish_gradients();
      for (const int64_t unit : weights.units()) {
        for (const model::FlatPiece& piece : weights.part(unit).pieces) {
          const std::string& name = weights.layout(unit)[piece.tensor].name;
          const at::Tensor whole = expected.at(name).view(-1);
          const at::Tensor error = weights.gradient(unit).narrow(0, piece.offset, piece.count) -
                                   whole.narrow(0, piece.first, piece.count);
          // Sums of products in another order, in fp64.
          EXPECT_LE(error.abs().max().item<double>(), 1e-11 * whole.abs().max().item<double>())
              << name << " of rank " << world.rank();
        }
      }
      world.barrier();
    });
  }
}

INSTANTIATE_TEST_SUITE_P(All, CutWeights, testing::Values("mla", "dense"), [](const auto& test) {
  return std::string(test.param);
});

}  // namespace
}  // namespace vmla::distributed
