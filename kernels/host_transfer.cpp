#include "kernels/host_transfer.h"

#include <ATen/ATen.h>

namespace vmla::kernels {

at::Tensor upload(const at::Tensor& host, at::Device device) {
  if (!host.is_cpu() || !device.is_cuda()) return host.to(device);
  // A copy out of pageable memory, or of a layout with gaps, would wait for the device.
  return host.contiguous().pin_memory().to(device, /*non_blocking=*/true);
}

}  // namespace vmla::kernels
