#pragma once

#include "model/config/model_config.h"
#include "model/conversion/layer_moments.h"
#include "model/network/attention_plan.h"
#include "model/network/token_grid.h"

#include <map>
#include <string>
#include <vector>

/// Which rotary pairs of a dense head should stay rotary (docs/algorithms.md 5.8).
namespace vmla::analysis {

/// 1 − |E exp(i θ δ)|² of each pair of a dense head over the offsets δ that queries and keys have:
/// 0 where a pair's rotation hardly differs, so that content serves it as well.
std::vector<double> rotation_effect(const model::AttentionPlan& plan,
                                    model::TokenGrid grid,
                                    int64_t head_dim);

/// rope_pair_indices of each layer: the pairs with the most energy of logits that one key for all
/// heads can carry, times their rotation's effect; of each axis at least one. Ascending.
std::vector<std::vector<int64_t>> choose_pairs(const model::ModelConfig& mla,
                                               const std::map<std::string, at::Tensor>& dense,
                                               const std::vector<model::LayerMoments>& moments,
                                               const std::vector<double>& effect);

}  // namespace vmla::analysis
