#pragma once

#include "model/weights/weight_source.h"

#include <ATen/core/Tensor.h>

#include <map>

namespace vmla::model {

/// Weights that lie in the host's memory, a mapped file say, and are on `device` while they are in
/// use: a unit is copied there when it is acquired, or shortly before (prefetch), and dropped when
/// it is released, unless units are held. They take no gradients. `home` must outlive it.
class UploadedWeights final : public WeightSource {
 public:
  UploadedWeights(WeightSource& home, at::Device device) : home_(home), device_(device) {}

  std::vector<at::Tensor> acquire(int64_t unit) override;
  void release(int64_t unit) override;
  void prefetch(int64_t unit) override;
  void hold() override { ++holds_; }
  void unhold() override;
  void add_gradients(int64_t unit, const std::vector<at::Tensor>& gradients) override;
  /// What lies at home has changed. No unit may be in use.
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
