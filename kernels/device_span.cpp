#include "kernels/device_span.h"

#include <utility>

#include "kernels/device_streams.h"

namespace vmla::kernels {

DeviceMark::DeviceMark(c10::Device device) : now_(std::chrono::steady_clock::now()) {
  if (!device.is_cuda()) return;
  // An event that PyTorch's flag makes has no time.
  event_ = std::make_shared<c10::Event>(device.type(), c10::EventFlag::BACKEND_DEFAULT);
  event_->record(current_stream(device));
}

DeviceSpan::DeviceSpan(DeviceMark begin, DeviceMark end)
    : begin_(std::move(begin)), end_(std::move(end)) {}

double DeviceSpan::seconds() const {
  if (!end_.event_) return std::chrono::duration<double>(end_.now_ - begin_.now_).count();
  constexpr double kMillisecond = 1e-3;
  return begin_.event_->elapsedTime(*end_.event_) * kMillisecond;
}

}  // namespace vmla::kernels
