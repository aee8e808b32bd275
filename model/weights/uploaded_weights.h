#pragma once

#include "model/weights/weight_source.h"

#include <ATen/core/Tensor.h>

#include <map>

namespace vmla::model {

/// Frozen weights that are kept in host memory (or in a mapped file) and on `device` only while
/// they are used. A unit is copied to the device when it is acquired, or before that by prefetch(),
/// and dropped when it is released, unless units are held. `home`, the weights on the host, must
/// outlive the object.
class UploadedWeights final : public WeightSource {
 public:
  UploadedWeights(WeightSource& home, at::Device device) : home_(home), device_(device) {}

  std::vector<at::Tensor> acquire(int64_t unit) override;
  void release(int64_t unit) override;
  void prefetch(int64_t unit) override;
  void hold() override { ++holds_; }
  void unhold() override;
  void add_gradients(int64_t unit, const std::vector<at::Tensor>& gradients) override;
  /// Must be called after the weights on the host have changed: copies on the device are dropped.
  /// No unit may be acquired.
  void forget();

 private:
  struct Slot {
    int64_t uses = 0;
    std::vector<at::Tensor> tensors;
  };
  void upload(int64_t unit, Slot& slot);

  WeightSource& home_;
  at::Device device_;
  int64_t holds_ = 0;
  std::map<int64_t, Slot> slots_;
};

}  // namespace vmla::model
