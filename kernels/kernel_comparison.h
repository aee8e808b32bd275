#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

#include "kernels/adamw/adamw.h"

/// How a kernel's results are compared with those of its reference in fp64, wherever the program
/// does so: before a GPU is used (kernel_self_check.h), and in `vmla doctor`.
namespace vmla::kernels {

using KernelOperation = std::function<at::Tensor(const std::vector<at::Tensor>& inputs)>;

/// Largest errors that are rounding, as parts of the largest number.
struct KernelTolerances {
  double output, gradient;
};
/// For results in fp32 or bf16.
KernelTolerances kernel_tolerances(at::ScalarType dtype);

/// Standard normals, fp32 on the CPU: the same in every comparison that names the stream.
at::Tensor comparison_draw(uint64_t stream, at::IntArrayRef sizes);

/// The output of `operation`, then the gradients of all inputs for a fixed cotangent.
std::vector<at::Tensor> output_and_gradients(const KernelOperation& operation,
                                             const std::vector<at::Tensor>& inputs);

/// Largest difference and largest expected number, in fp64; a NaN stays one.
struct Deviation {
  double error, size;
};
Deviation deviation(const at::Tensor& actual, const at::Tensor& expected);

/// What three updates of AdamW wrote, all but the second with followers.
struct AdamwTrial {
  at::Tensor written;  // the parameters, then their average
  bool is_rounded;     // the copies in bf16 are the nearest to both
};
/// Runs adamw_step_ or its reference on `device`, in `dtype`.
AdamwTrial try_adamw(decltype(&adamw_step_) step,
                     at::Device device,
                     at::ScalarType dtype,
                     double beta1);

}  // namespace vmla::kernels
