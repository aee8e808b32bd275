#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace vmla::model {

/// The ranks that share one clip: each holds an equal slice of every frame's tokens
/// (docs/algorithms.md 15.5). What the network's forward needs of them and nothing more; all ranks
/// of a group make the same calls in the same order. None of them is differentiable by itself.
class SequenceGroup {
 public:
  virtual ~SequenceGroup() = default;
  virtual int64_t size() const = 0;
  virtual int64_t index() const = 0;  // this rank's slice
  /// part [...] of every rank -> [size, ...], in rank order.
  virtual at::Tensor all_gather(const at::Tensor& part) = 0;
  /// whole [size, ...] of every rank -> row `index` of their sum over the ranks, [...].
  virtual at::Tensor reduce_scatter(const at::Tensor& whole) = 0;
  /// sent [size, ...] -> [size, ...]: row `index` of every rank's.
  virtual at::Tensor all_to_all(const at::Tensor& sent) = 0;
};

}  // namespace vmla::model
