#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace vmla::model {

/// Where a network's weights live: in this process, or in shards that are gathered for the time of
/// a call. The only seam through which parallelism enters below the trainer.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  /// The unit's tensors in visitor order (matrices in the compute dtype, the rest in fp32), without
  /// gradient state. Valid until release(); calls may nest.
  virtual std::vector<at::Tensor> acquire(int64_t unit) = 0;
  virtual void release(int64_t unit) = 0;
  /// Adds to the unit's local fp32 gradient buffer; undefined tensors count as zero. Visitor order.
  virtual void add_gradients(int64_t unit, const std::vector<at::Tensor>& gradients) = 0;

  /// `unit` is acquired next: a source that gathers may begin. Nothing happens when it does not.
  virtual void prefetch(int64_t /*unit*/) {}
  /// A forward was recorded whose backward will call add_gradients once.
  virtual void expect_gradients(int64_t /*unit*/) {}
  /// Until as many unhold() calls, released units stay gathered where that is allowed.
  virtual void hold() {}
  virtual void unhold() {}
};

/// Holds a network's weights over several passes, so that they are gathered once: sampling.
class HeldWeights {
 public:
  explicit HeldWeights(WeightSource& source) : source_(source) { source_.hold(); }
  ~HeldWeights() { source_.unhold(); }
  HeldWeights(const HeldWeights&) = delete;
  HeldWeights& operator=(const HeldWeights&) = delete;

 private:
  WeightSource& source_;
};

/// What a call shall be differentiable in: nothing, its inputs, or its inputs and the weights.
enum class GradMode { kNone, kInput, kFull };

}  // namespace vmla::model
