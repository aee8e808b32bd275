#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace vmla::trainer {

/// Bytes that tensors hold, and the most they held since the last reset.
struct TensorBytes {
  int64_t live = 0, peak = 0;
};

/// From the first call on, what tensors of the CPU and of the meta device hold is counted, exactly
/// as it was asked for: a tensor of n bytes counts n. Tensors made before are not counted, nor are
/// mapped files. LibTorch has one allocator a device, so this holds for the whole process.
void count_tensor_bytes();

/// Whether the CPU tensor is among what is counted: not mapped, not made before.
bool is_counted(const at::Tensor& tensor);

/// What is held on `device`. CPU and meta: since count_tensor_bytes(). An accelerator: what its own
/// allocator says, in the blocks that it hands out.
TensorBytes tensor_bytes(c10::Device device);

/// The peak starts again from what is held now.
void reset_tensor_peak(c10::Device device);

}  // namespace vmla::trainer
