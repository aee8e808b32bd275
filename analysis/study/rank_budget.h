#pragma once

#include "model/config/model_config.h"
#include "model/conversion/layer_moments.h"

#include <map>
#include <string>
#include <vector>

/// How a sum of latent ranks is best spent over the layers (docs/algorithms.md 5.8).
namespace vmla::analysis {

/// The ranks, of sum `total` where that can be, that leave out the least of Σ over layers of
/// `energies` (each descending): the largest are taken first, at least `least` and at most `most`
/// of a layer.
std::vector<int64_t> spend_ranks(const std::vector<std::vector<double>>& energies,
                                 int64_t total,
                                 int64_t least,
                                 int64_t most);

/// kv_lora_rank of each layer with the sum that `mla` has, each between half and twice the mean: by
/// the share of each layer's balanced joint map that a rank keeps, for inputs of the moments
/// (isotropic where there are none).
std::vector<int64_t> rank_budget(const model::ModelConfig& mla,
                                 const std::map<std::string, at::Tensor>& dense,
                                 const std::vector<model::LayerMoments>& moments);

}  // namespace vmla::analysis
