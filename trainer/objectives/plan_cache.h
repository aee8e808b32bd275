#pragma once

#include "model/network/flops.h"
#include "model/network/prepared_plan.h"
#include "model/network/wan_dit.h"
#include "trainer/objectives/objective.h"

#include <optional>

namespace vmla::trainer {

/// Model FLOPs of one forward of one clip under a plan.
inline double plan_flops(const model::ModelConfig& config,
                         const model::AttentionPlan& plan,
                         const ClipShape& clip) {
  const auto grid = model::token_grid(config, clip.height, clip.width);
  return model::forward_flops(config, plan, grid.rows * grid.cols).total();
}

/// A step that is one forward and one backward of the generator.
inline std::vector<PhaseFlops> generator_flops(double forward) {
  return {{"forward", "generator", forward}, {"backward", "generator", 2 * forward}};
}

/// Keeps the one prepared plan that an objective's clips need; made anew when shape, dtype or
/// device change.
class PlanCache {
 public:
  template <class MakePlan>
  const model::PreparedPlan& get(const model::ModelConfig& config,
                                 const at::Tensor& latents_BFCHW,
                                 MakePlan make_plan) {
    const auto sizes = latents_BFCHW.sizes().slice(1).vec();
    if (!plan_ || sizes != sizes_ || latents_BFCHW.scalar_type() != dtype_ ||
        latents_BFCHW.device() != device_) {
      const auto grid = model::token_grid(config, sizes[2], sizes[3]);
      plan_ = model::prepare_plan(
          config, make_plan(sizes[0]), grid.rows, grid.cols, latents_BFCHW.options());
      sizes_ = sizes;
      dtype_ = latents_BFCHW.scalar_type();
      device_ = latents_BFCHW.device();
    }
    return *plan_;
  }

 private:
  std::optional<model::PreparedPlan> plan_;
  std::vector<int64_t> sizes_;
  at::ScalarType dtype_ = at::kFloat;
  at::Device device_ = at::kCPU;
};

}  // namespace vmla::trainer
