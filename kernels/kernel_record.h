#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace c10 {
struct IValue;
}

namespace vmla::kernels {

/// The name by which LibTorch's observers and profilers see each call of one of our fused
/// operations, whether a kernel of ours, ATen operations or, on the meta device, nothing computes
/// it. Its arguments are how many kernels a GPU starts for it, and the tensors that it reads or
/// changes in place. What it makes besides it allocates meanwhile, as observers see (where ATen
/// computes it, in part).
///
///   RECORD_FUNCTION(kKernelRecord, reading({x, weight}));
inline constexpr char kKernelRecord[] = "vmla::kernel";

/// Arguments of kKernelRecord. Tensors may be undefined. One that is read and written stands twice.
std::vector<c10::IValue> reading(at::TensorList tensors, int64_t kernels = 1);

}  // namespace vmla::kernels
