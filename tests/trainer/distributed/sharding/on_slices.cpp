#include "tests/trainer/distributed/sharding/on_slices.h"

#include "tests/model/tiny_network.h"
#include "tests/support/tensor_match.h"
#include "trainer/distributed/collectives/thread_communicator.h"
#include "trainer/distributed/sharding/sequence_ranks.h"

#include <ATen/ATen.h>

namespace vmla::distributed {
namespace {

constexpr const char* kSum = "sum ";

}  // namespace

std::vector<Tensors> on_slices(const model::ModelConfig& config,
                               int64_t ranks,
                               const RankWork& work) {
  std::vector<Tensors> results(static_cast<size_t>(ranks));
  on_threads(ranks, [&](Communicator& group) {
    model::TrainedWeights weights(
        config, model::drawn_weights(config), "drawn", at::kCPU, at::kDouble, at::kDouble);
    SequenceRanks sequence(group);
    const model::Network network{config, weights, ranks == 1 ? nullptr : &sequence};
    results[static_cast<size_t>(group.rank())] = work(network, weights);
  });
  return results;
}

void expect_as_one_rank(const std::vector<Tensors>& parts,
                        const Tensors& whole,
                        double tolerance,
                        double gradient_tolerance) {
  for (const auto& [name, expected] : whole) {
    at::Tensor sum = parts[0].at(name).clone();
    const bool adds_up = name.starts_with(kSum);
    for (size_t rank = 1; rank < parts.size(); ++rank) {
      const at::Tensor& part = parts[rank].at(name);
      if (adds_up) {
        sum = sum + part;
      } else {
        EXPECT_TRUE(tests::same_bits(part, parts[0].at(name))) << name << " of rank " << rank;
      }
    }
    const bool is_gradient = adds_up || name.ends_with("gradient");
    EXPECT_TRUE(tests::near_max(sum, expected, is_gradient ? gradient_tolerance : tolerance))
        << name;
    EXPECT_GT(expected.abs().max().item<double>(), 0) << name;
  }
}

Tensors gradient_parts(const model::TrainedWeights& weights) {
  Tensors parts;
  for (const auto& [name, gradient] : weights.gradients()) parts[kSum + name] = gradient.clone();
  return parts;
}

model::DitInputs inputs_on_grid(const model::ModelConfig& config,
                                int64_t batch,
                                int64_t frames,
                                int64_t cols) {
  return {model::draw("latents", {batch, frames, config.in_dim, 4, 2 * cols}),
          model::draw("timesteps", {batch, frames}).sigmoid() * 1000.0,
          model::draw("text", {batch, config.text_len - 2, config.text_dim})};
}

}  // namespace vmla::distributed
