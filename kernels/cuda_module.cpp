#include "kernels/cuda_module.h"

#include <ATen/ATen.h>
#include <dlfcn.h>

#include <atomic>
#include <filesystem>

namespace vmla::kernels {
namespace {

std::atomic<const cuda::KernelTable*> loaded_kernels{nullptr};
std::atomic<void*> loaded_module{nullptr};

// Nothing is ever unloaded: LibTorch keeps pointers into its libraries.
std::string load() {
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  const auto path = program.parent_path() / "libvmla_cuda.so";
  if (error || !std::filesystem::exists(path, error)) {
    return "this build has no CUDA module (libvmla_cuda.so beside the program; target vmla_cuda)";
  }
  // CUDA's runtime looks for the driver by this name too. Asked first, it saves half a second and
  // gives the plainer answer.
  if (dlopen("libcuda.so.1", RTLD_LAZY) == nullptr) {
    return "no NVIDIA driver is installed (libcuda.so.1)";
  }
  void* module = dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (module == nullptr) return std::string("the CUDA module cannot be loaded: ") + dlerror();
  const auto table_of = reinterpret_cast<cuda::TableFunction>(dlsym(module, cuda::kTableFunction));
  const cuda::KernelTable* table = table_of == nullptr ? nullptr : table_of();
  if (table == nullptr || table->layout != cuda::kTableLayout) {
    return "the CUDA module " + path.string() + " belongs to another build";
  }
  std::string reason = table->why_unusable();
  if (!reason.empty()) return reason;
  if (!at::globalContext().hasCUDA()) return "LibTorch sees no GPU";
  loaded_module = module;
  loaded_kernels = table;
  return {};
}

}  // namespace

std::string load_cuda_module() {
  static const std::string reason = load();
  return reason;
}

const cuda::KernelTable* cuda_kernels() {
  return loaded_kernels.load(std::memory_order_acquire);
}

void* cuda_module_function(const char* name) {
  void* module = loaded_module.load(std::memory_order_acquire);
  return module == nullptr ? nullptr : dlsym(module, name);
}

}  // namespace vmla::kernels
