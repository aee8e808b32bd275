#include "model/network/recent_plans.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace vmla::model {
namespace {

/// Orders in which a full ring can hold its frames: one a slot at most. An unlimited window is
/// never the same twice.
size_t ring_orders(const ModelConfig& config) {
  if (config.local_attn_size < 0) return 1;
  const int64_t ring = config.local_attn_size - config.num_frame_per_block - config.sink_size;
  return static_cast<size_t>(std::max<int64_t>(ring, 1));
}

}  // namespace

RecentPlans::RecentPlans(const ModelConfig& config,
                         TokenGrid grid,
                         const at::TensorOptions& options)
    : config_(config), grid_(grid), options_(options), capacity_(ring_orders(config)) {}

const PreparedPlan& RecentPlans::get(const AttentionPlan& plan) {
  const auto known = std::find_if(
      plans_.begin(), plans_.end(), [&](const PreparedPlan& p) { return p.plan == plan; });
  if (known != plans_.end()) {
    plans_.splice(plans_.begin(), plans_, known);
  } else {
    if (plans_.size() == capacity_) plans_.pop_back();
    plans_.push_front(prepare_plan(config_, plan, grid_.rows, grid_.cols, options_));
  }
  return plans_.front();
}

}  // namespace vmla::model
