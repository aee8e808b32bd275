#include "model/network/plan_cache.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace vmla::model {

const PreparedPlan& PlanCache::get(const ModelConfig& config,
                                   const AttentionPlan& plan,
                                   TokenGrid grid,
                                   const at::TensorOptions& options) {
  const auto dtype = c10::typeMetaToScalarType(options.dtype());
  if (grid != grid_ || dtype != dtype_ || options.device() != device_) {
    plans_.clear();
    grid_ = grid;
    dtype_ = dtype;
    device_ = options.device();
  }
  const auto known = std::find_if(
      plans_.begin(), plans_.end(), [&](const PreparedPlan& kept) { return kept.plan == plan; });
  if (known != plans_.end()) {
    plans_.splice(plans_.begin(), plans_, known);
  } else {
    if (plans_.size() == limit_) plans_.pop_back();
    plans_.push_front(prepare_plan(config, plan, grid, options));
  }
  return plans_.front();
}

const PreparedPlan& PlanCache::get(const ModelConfig& config,
                                   const AttentionPlan& plan,
                                   const at::Tensor& latents_BFCHW) {
  return get(config,
             plan,
             token_grid(config, latents_BFCHW.size(3), latents_BFCHW.size(4)),
             latents_BFCHW.options());
}

size_t streaming_plan_limit(const ModelConfig& config) {
  // Plans recur only where positions do.
  if (config.local_attn_size < 0 || config.has_absolute_positions()) return 1;
  const int64_t ring = config.local_attn_size - config.num_frame_per_block - config.sink_size;
  return static_cast<size_t>(std::max<int64_t>(ring, 1));
}

}  // namespace vmla::model
