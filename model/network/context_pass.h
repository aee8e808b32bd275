#pragma once

#include "model/network/wan_dit.h"

#include <ATen/core/Tensor.h>

#include <vector>

namespace vmla::model {

/// A forward over finished latents whose only product is their keys and values, for a cache
/// (docs/algorithms.md 6.3).
struct ContextPass {
  at::Tensor latents_BFCHW;
  /// Timestep (0 to 1000) of all frames: 0, or a student's context noise.
  double timestep = 0;
  at::Tensor text_BTE;
  const PreparedPlan& plan;
  const std::vector<LayerKv>& window;
  PassCache* pass_cache = nullptr;
  ChunkCache* chunk_cache = nullptr;
  LatentForm form = LatentForm::kExpanded;
};

/// Keys and values of the pass's frames, one per layer, without gradients. The last layer stops
/// once it has them.
std::vector<LayerKv> context_kv(const Network& network, const ContextPass& pass);

}  // namespace vmla::model
