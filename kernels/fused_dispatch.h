#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/cuda_module.h"
#include "kernels/element.h"

/// Which calls the fused code takes, and the way to it: loops on the CPU, kernels of the module
/// libvmla_cuda.so on a GPU. All other calls run in plain ATen operations.
namespace vmla::kernels {

/// What x holds; one of the dtypes that takes_fused accepts.
Element element_of(const at::Tensor& x);

/// Whether the fused code takes a call. `tensors`: all of one dtype on one device, fp32 or fp64 on
/// the CPU, fp32 or bf16 on a GPU whose module is loaded. `rows`, such as weights and modulation:
/// beside them and of their dtype; on a GPU all of them may be fp32 instead.
bool takes_fused(at::TensorList tensors, at::TensorList rows = {});

/// Runs an op where `x` is, with the one set of parameters that both sides read.
template <class Params>
void run_fused(const at::Tensor& x,
               void (*cpu)(const Params&),
               cuda::Kernel<Params> cuda::KernelTable::* gpu,
               const Params& params) {
  if (x.is_cuda()) return (cuda_kernels()->*gpu)(params, x.get_device());
  cpu(params);
}

}  // namespace vmla::kernels
