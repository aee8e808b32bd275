#include "kernels/host_transfer.h"

#include <ATen/ATen.h>

#include "kernels/cuda_graph.h"

namespace vmla::kernels {

at::Tensor upload(const at::Tensor& host, at::Device device) {
  if (!host.is_cpu() || !device.is_cuda()) return host.to(device);
  // The graph would read the host's memory at every replay, when others have it.
  TORCH_CHECK(!is_recording(), "an upload is not part of what a graph repeats");
  // A copy out of pageable memory, or of a layout with gaps, would wait for the device.
  return host.contiguous().pin_memory().to(device, /*non_blocking=*/true);
}

}  // namespace vmla::kernels
