#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "kernels/kernel_choice.h"

namespace vmla::kernels {

/// What a kernel's comparison with its reference found.
struct KernelVerdict {
  FusedOp op;
  /// Empty where they agree; else in one line where they differ and by how much.
  std::string problem;
};

/// Compares each kernel that runs on `device` with its reference on the CPU in fp64: forward,
/// backward, fp32, bf16 beside fp32 rows, at small odd sizes. Operations that are to run their
/// reference, or for which the device has no kernel, are left out. A kernel that disagrees, or that
/// the device refuses, is switched off (set_switched_off), one that agrees is on again. To be
/// called once the process has chosen its GPU, before work whose results matter.
std::vector<KernelVerdict> check_kernels(at::Device device);

/// What to say of a kernel that was switched off, or, where kFused holds it on, that disagrees.
std::string warning_of(const KernelVerdict& verdict);

}  // namespace vmla::kernels
