#pragma once

#include "model/network/prepared_plan.h"

#include <list>

namespace vmla::model {

/// Prepared plans of the chunks of a rollout, kept over chunks, passes and training steps: a
/// chunk's plan depends on how many frames its window holds and where they lie, which repeats.
class PlanSet {
 public:
  /// The plan prepared for the grid; the reference stays valid. All calls of one set have the same
  /// model, grid and options, else what was kept is dropped.
  const PreparedPlan& get(const ModelConfig& config,
                          const AttentionPlan& plan,
                          int64_t rows,
                          int64_t cols,
                          const at::TensorOptions& options);

 private:
  int64_t rows_ = 0, cols_ = 0;
  at::ScalarType dtype_ = at::kFloat;
  at::Device device_ = at::kCPU;
  std::list<PreparedPlan> plans_;
};

}  // namespace vmla::model
