#pragma once

#include "model/network/flops.h"
#include "model/network/token_grid.h"
#include "trainer/objectives/objective.h"

namespace vmla::trainer {

/// Model FLOPs of one forward of one clip under a plan (docs/algorithms.md 15.1).
inline double plan_flops(const model::ModelConfig& config,
                         const model::AttentionPlan& plan,
                         const ClipShape& clip) {
  const auto grid = model::token_grid(config, clip.height, clip.width);
  return model::forward_flops(config, plan, grid.tokens()).total();
}

/// The phases of a step that is one forward and one backward of the generator: a backward counts as
/// two forwards (docs/algorithms.md 15.2).
inline std::vector<PhaseFlops> generator_flops(double forward) {
  return {{"forward", "generator", forward}, {"backward", "generator", 2 * forward}};
}

}  // namespace vmla::trainer
