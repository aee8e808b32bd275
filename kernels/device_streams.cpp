#include "kernels/device_streams.h"

#include <c10/core/impl/VirtualGuardImpl.h>

namespace vmla::kernels {

c10::Stream current_stream(c10::Device device) {
  return c10::impl::VirtualGuardImpl(device.type()).getStream(device);
}

c10::Stream side_stream(c10::Device device) {
  return c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device);
}

}  // namespace vmla::kernels
