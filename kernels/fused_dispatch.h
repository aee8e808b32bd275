#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/cuda_module.h"
#include "kernels/element.h"
#include "kernels/kernel_choice.h"

/// Which calls the fused code takes, and the way to it: loops on the CPU, kernels of the module
/// libvmla_cuda.so on a GPU. All other calls run in plain ATen operations.
namespace vmla::kernels {

/// What x holds; one of the dtypes that takes_fused accepts.
Element element_of(const at::Tensor& x);

/// The kernels that run where x lies: the module's for a GPU, else null. A test may give a table
/// for tensors of the CPU in fp32 and bf16 (use_kernels_on_cpu, cuda_module.h).
const cuda::KernelTable* kernels_for(const at::Tensor& x);

/// Whether the fused code takes a call. `tensors`: all of one dtype on one device, fp32 or fp64 on
/// the CPU, fp32 or bf16 on a GPU whose module is loaded. `rows`, such as weights and modulation:
/// beside them and of their dtype; on a GPU all of them may be fp32 instead. False where the
/// reference is to run (kernel_choice.h).
bool takes_fused(FusedOp op, at::TensorList tensors, at::TensorList rows = {});

/// The same where what is computed from `tensors` is in `other`: in their dtype, or on a GPU in
/// bf16 beside fp32.
bool takes_fused(FusedOp op, at::TensorList tensors, at::ScalarType other, at::TensorList rows);
/// The same where `other` is what is added to them, or its gradient: on their device.
inline bool takes_fused(FusedOp op,
                        at::TensorList tensors,
                        const at::Tensor& other,
                        at::TensorList rows) {
  return other.device() == tensors[0].device() &&
         takes_fused(op, tensors, other.scalar_type(), rows);
}

/// Runs an op where `x` is, with the one set of parameters that both sides read.
template <class Params>
void run_fused(const at::Tensor& x,
               void (*cpu)(const Params&),
               cuda::Kernel<Params> cuda::KernelTable::* gpu,
               const Params& params) {
  const cuda::KernelTable* kernels = kernels_for(x);
  if (kernels != nullptr) return (kernels->*gpu)(params, x.get_device());
  cpu(params);
}

}  // namespace vmla::kernels
