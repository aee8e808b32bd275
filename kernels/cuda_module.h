#pragma once

#include <string>

#include "kernels/cuda/kernel_table.h"

namespace vmla::kernels {

/// Loads libvmla_cuda.so, which lies beside the running program, and with it LibTorch's CUDA
/// libraries; from then on operations on CUDA tensors use its kernels. To be called before any
/// question about CUDA, because LibTorch remembers its answer. Returns an empty string, or in one
/// line why this process cannot use a GPU: no module, no driver, no GPU, or none that the module
/// has kernels for. Later calls return the first one's answer.
std::string load_cuda_module();

/// The module's functions; null until it is loaded.
const cuda::KernelTable* cuda_kernels();

/// A function that the loaded module exports beside its table, by name; null where it has none.
void* cuda_module_function(const char* name);

}  // namespace vmla::kernels
