#pragma once

#include <filesystem>
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

/// For tests where no GPU is: from now on operations on the CPU's tensors in fp32 and bf16 use this
/// table, whose functions get device -1; null ends it.
void use_kernels_on_cpu(const cuda::KernelTable* table);
const cuda::KernelTable* cpu_test_kernels();

/// A function that the loaded module exports beside its table, by name; null where it has none.
void* cuda_module_function(const char* name);

/// A module that was opened, or in `problem` why it cannot be used, in one line.
struct OpenedModule {
  void* handle = nullptr;
  const cuda::KernelTable* table = nullptr;
  std::string problem;
};

/// Opens a module for good and compares its hash of the shared headers with this program's: what
/// load_cuda_module does once it has found a driver.
OpenedModule open_cuda_module(const std::filesystem::path& path);

/// This program's hash of the headers that it shares with the module: 64 hex digits.
const char* kernel_table_hash();

}  // namespace vmla::kernels
