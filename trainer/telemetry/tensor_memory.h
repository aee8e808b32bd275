#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace vmla::trainer {

/// Bytes that tensors hold, and the most they held since the last reset.
struct TensorBytes {
  int64_t live = 0, peak = 0;
};

/// From the first call on, counts what tensors of the CPU and of the meta device hold, to the byte:
/// a tensor of n bytes counts n. Tensors made before are not counted, nor are mapped files. It
/// replaces LibTorch's allocators, of which there is one a device, so it holds for the whole
/// process and for all threads.
void count_tensor_bytes();

/// Whether a CPU tensor is counted: not mapped from a file, and not made before counting began.
bool is_counted(const at::Tensor& tensor);

/// What tensors hold on `device`. CPU and meta: since count_tensor_bytes(). An accelerator: what
/// its own allocator says, which rounds up to the blocks that it hands out.
TensorBytes tensor_bytes(c10::Device device);

/// Sets the peak to what is held now.
void reset_tensor_peak(c10::Device device);

}  // namespace vmla::trainer
