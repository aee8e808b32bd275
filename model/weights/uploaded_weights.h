#pragma once

#include "kernels/host_pages.h"
#include "model/weights/local_weights.h"

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
/// the kernels of the one before it. What cannot be page-locked passes through page-locked memory
/// of LibTorch's, into which the host copies it at once: a device that writes such pages makes the
/// host wait anyway.
class UploadedWeights final : public WeightSource {
 public:
  /// Of frozen weights: `home` gives them in the dtypes that are computed with. They are
  /// page-locked where they lie.
  UploadedWeights(WeightSource& home, at::Device device);
  /// Of weights that move, a unit's flat master at a time, which is cast on the device. Before a
  /// unit is asked for, the current stream must have been made to wait for what writes the masters.
  UploadedWeights(TrainedWeights& home, at::Device device);
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
    std::vector<at::Tensor> sent;        // as at home; empty once `tensors` are there
    std::optional<c10::Event> arriving;  // none: what was sent is there
    std::vector<at::Tensor> tensors;     // to compute with
  };
  using Slots = std::map<int64_t, Slot>;
  void send(int64_t unit, Slot& slot);
  void expect_arrival(Slot& slot) const;
  Slots::iterator drop(Slots::iterator slot);
  at::Tensor sendable(const at::Tensor& tensor);

  WeightSource* frozen_ = nullptr;
  TrainedWeights* moving_ = nullptr;  // one of the two
  at::Device device_;
  std::optional<c10::Stream> stream_;  // of a GPU
  int64_t holds_ = 0;
  Slots slots_;
  std::set<const void*> seen_;  // storages that were tried to lock
  std::vector<kernels::LockedPages> locked_;
  bool said_ = false;  // that some could not be locked
};

}  // namespace vmla::model
