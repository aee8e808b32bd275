#pragma once

#include <c10/core/Device.h>
#include <c10/core/Event.h>

#include <chrono>
#include <memory>

namespace vmla::kernels {

/// A moment in a device's work: on a GPU when it comes to what this thread queues next, which may
/// be long after the host has queued it; elsewhere now.
class DeviceMark {
 public:
  explicit DeviceMark(c10::Device device);

 private:
  friend class DeviceSpan;
  std::chrono::steady_clock::time_point now_;
  std::shared_ptr<c10::Event> event_;  // on a GPU
};

/// From one mark to a later one.
class DeviceSpan {
 public:
  DeviceSpan(DeviceMark begin, DeviceMark end);
  /// On a GPU the host must have waited for the end, as it has when it holds what was copied to it
  /// after the end was marked.
  double seconds() const;

 private:
  DeviceMark begin_, end_;
};

}  // namespace vmla::kernels
