#pragma once

#include "model/network/wan_dit.h"
#include "model/weights/local_weights.h"

#include <functional>
#include <map>
#include <string>
#include <vector>

/// A network run by one rank, and by several that share its sequence.
namespace vmla::distributed {

using Tensors = std::map<std::string, at::Tensor>;

/// Runs `work` on `ranks` threads, each with a network of its own weights (trained, in fp64, the
/// same values), and returns what each gave back. With one rank there is no group.
using RankWork = std::function<Tensors(const model::Network&, model::TrainedWeights&)>;
std::vector<Tensors> on_slices(const model::ModelConfig& config,
                               int64_t ranks,
                               const RankWork& work);

/// Results whose names begin with "sum " are added up over the ranks, all others must be the same
/// on each. Either way they are compared with the results of one rank, relative to the greatest
/// element.
void expect_as_one_rank(const std::vector<Tensors>& parts,
                        const Tensors& whole,
                        double tolerance,
                        double gradient_tolerance);

/// The weights' gradients, named for expect_as_one_rank.
Tensors gradient_parts(const model::TrainedWeights& weights);

/// The tiny networks' latents on a grid of 2 x `cols` tokens, `batch` samples.
model::DitInputs inputs_on_grid(const model::ModelConfig& config,
                                int64_t batch,
                                int64_t frames,
                                int64_t cols);

}  // namespace vmla::distributed
