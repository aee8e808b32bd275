#pragma once

#include "model/config/model_config.h"
#include "model/network/prepared_plan.h"
#include "model/network/wan_dit.h"

#include <list>

namespace vmla::model {

/// The prepared plans of a rollout over a streaming cache. A ring's slots come round to the same
/// order after a few chunks, and with them the plan; each is prepared once and kept, so that chunks
/// in the steady state build nothing. No more are kept than the ring has orders: memory does not
/// grow with the video.
class RecentPlans {
 public:
  RecentPlans(const ModelConfig& config, TokenGrid grid, const at::TensorOptions& options);

  /// The prepared form of `plan`; good until the next call.
  const PreparedPlan& get(const AttentionPlan& plan);

  size_t size() const { return plans_.size(); }

 private:
  const ModelConfig& config_;
  TokenGrid grid_;
  at::TensorOptions options_;
  size_t capacity_;
  std::list<PreparedPlan> plans_;  // most recently used first
};

}  // namespace vmla::model
