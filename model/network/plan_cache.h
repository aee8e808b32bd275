#pragma once

#include "model/network/prepared_plan.h"

#include <ATen/core/Tensor.h>

#include <limits>
#include <list>

namespace vmla::model {

/// Prepared plans, kept over chunks, passes and training steps. Preparing one computes rope tables
/// and copies them to the device, and the same few plans come again: one clip length in training,
/// a handful of window positions in a rollout.
///
/// All calls of one cache pass the same model. Not safe for use by several threads at once.
class PlanCache {
 public:
  static constexpr size_t kUnlimited = std::numeric_limits<size_t>::max();

  /// At most `limit` plans stay, the most recently used ones; streaming_plan_limit() gives the one
  /// for a rollout of any length.
  explicit PlanCache(size_t limit = kUnlimited) : limit_(limit) {}

  /// `plan` prepared for the grid, with tables of the options' dtype and device. Another grid,
  /// dtype or device than in the call before empties the cache. The reference is valid as long as
  /// the plan stays.
  const PreparedPlan& get(const ModelConfig& config,
                          const AttentionPlan& plan,
                          TokenGrid grid,
                          const at::TensorOptions& options);

  /// The same for the grid, dtype and device of latents [B, F, C, H, W].
  const PreparedPlan& get(const ModelConfig& config,
                          const AttentionPlan& plan,
                          const at::Tensor& latents_BFCHW);

  size_t size() const { return plans_.size(); }

 private:
  size_t limit_;
  TokenGrid grid_;
  at::ScalarType dtype_ = at::kFloat;
  at::Device device_ = at::kCPU;
  std::list<PreparedPlan> plans_;  // most recently used first; a list keeps references valid
};

/// Plans that a rollout over a streaming cache meets again and again. The frames in a full ring of
/// slots lie in one of as many orders as the ring has slots, and the order decides the plan.
/// Without a window no plan comes twice: 1.
size_t streaming_plan_limit(const ModelConfig& config);

}  // namespace vmla::model
