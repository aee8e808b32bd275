#pragma once

#include "kernels/host_pages.h"
#include "model/weights/weight_source.h"

#include <ATen/core/Tensor.h>
#include <c10/core/Event.h>
#include <c10/core/Stream.h>

#include <map>
#include <optional>
#include <set>
#include <vector>

namespace vmla::model {

/// Weights that are kept in host memory (or in a mapped file) and on `device` only while they are
/// used. A unit is copied to the device when it is acquired, or before that by prefetch(), and
/// dropped when it is released, unless units are held. `home`, the weights on the host, must
/// outlive the object.
///
/// To a GPU units are copied on a stream of its own, so that one that was prefetched arrives beside
/// the kernels of the one before it. Tensors of `home` are page-locked where they lie if they stay
/// there (`is_frozen`), or pass through page-locked memory of LibTorch's.
class UploadedWeights final : public WeightSource {
 public:
  UploadedWeights(WeightSource& home, at::Device device, bool is_frozen);
  /// Waits for copies under way.
  ~UploadedWeights() override;

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
    std::optional<c10::Event> arriving;  // none: they are there
  };
  using Slots = std::map<int64_t, Slot>;
  Slot uploaded(int64_t unit);
  void expect_arrival(Slot& slot) const;
  Slots::iterator drop(Slots::iterator slot);
  at::Tensor sendable(const at::Tensor& tensor);

  WeightSource& home_;
  at::Device device_;
  bool is_frozen_;
  std::optional<c10::Stream> stream_;  // of a GPU
  int64_t holds_ = 0;
  Slots slots_;
  std::set<const void*> seen_;  // storages that were tried to lock
  std::vector<kernels::LockedPages> locked_;
  bool said_ = false;  // that some could not be locked
};

}  // namespace vmla::model
