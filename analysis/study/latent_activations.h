#pragma once

#include "analysis/rank/latent_statistics.h"
#include "data/store/latent_dataset.h"
#include "model/network/wan_dit.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace vmla::analysis {

/// The latents of every layer over the first `count` clips (all of them if there are fewer): what
/// the cache holds of them, from one pass over each clean clip at timestep 0 under the chunk-causal
/// plan (docs/algorithms.md 13.5). One entry a layer. `network` has latent attention; `options` are
/// the dtype and device of its inputs. Draws nothing and changes nothing. Collective where weights
/// or tokens are spread over ranks.
std::vector<LatentStatistics> measure_latents(const model::Network& network,
                                              const data::LatentDataset& clips,
                                              int64_t count,
                                              const at::TensorOptions& options);

}  // namespace vmla::analysis
