#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace vmla::model {

/// Where a network's weights come from: buffers of this process, or shards of several ranks that
/// are gathered for the time of a call. The network sees no other trace of sharding; sequence
/// parallelism enters through SequenceGroup.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  /// The unit's tensors in visitor order (weights.h): matrices and their biases in the compute
  /// dtype, the rest in fp32 (fp64 in fp64 runs), none requiring gradients. Valid until release().
  /// A unit may be acquired again before it is released; each acquire() needs its release().
  virtual std::vector<at::Tensor> acquire(int64_t unit) = 0;
  virtual void release(int64_t unit) = 0;
  /// Adds gradients, in visitor order, to the unit's gradient buffer; undefined tensors count as
  /// zero.
  virtual void add_gradients(int64_t unit, const std::vector<at::Tensor>& gradients) = 0;

  /// A hint that `unit` is acquired next: a source that gathers may start now. May be ignored.
  virtual void prefetch(int64_t /*unit*/) {}
  /// Announces that a forward of `unit` was recorded, whose backward will call add_gradients once.
  /// A source that reduces over ranks counts these calls to know when a unit's gradient is
  /// complete.
  virtual void expect_gradients(int64_t /*unit*/) {}
  /// From hold() until the matching unhold(), released units may stay gathered. Calls nest.
  virtual void hold() {}
  virtual void unhold() {}
  /// Whether acquire() always returns the same tensors, and queues nothing on a device: a GPU's
  /// kernels may then be recorded with their addresses.
  virtual bool is_fixed() const { return false; }
};

/// Calls hold() for its lifetime: weights are gathered once for several passes, as in sampling.
class HeldWeights {
 public:
  explicit HeldWeights(WeightSource& source) : source_(source) { source_.hold(); }
  ~HeldWeights() { source_.unhold(); }
  HeldWeights(const HeldWeights&) = delete;
  HeldWeights& operator=(const HeldWeights&) = delete;

 private:
  WeightSource& source_;
};

/// What a forward is differentiable in: nothing, its inputs, or its inputs and the weights.
enum class GradMode { kNone, kInput, kFull };

}  // namespace vmla::model
