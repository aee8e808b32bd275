#include "kernels/device_streams.h"

#include <c10/core/impl/VirtualGuardImpl.h>

#include <chrono>
#include <exception>
#include <thread>

namespace vmla::kernels {

c10::Stream current_stream(c10::Device device) {
  return c10::impl::VirtualGuardImpl(device.type()).getStream(device);
}

c10::Stream side_stream(c10::Device device) {
  return c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device);
}

void settle(const c10::Stream& stream) noexcept {
  try {
    if (std::uncaught_exceptions() == 0) return stream.synchronize();
    const auto last = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    while (!stream.query() && std::chrono::steady_clock::now() < last)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  } catch (const std::exception&) {
  }
}

}  // namespace vmla::kernels
