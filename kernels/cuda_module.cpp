#include "kernels/cuda_module.h"

#include <ATen/ATen.h>
#include <dlfcn.h>

#include <atomic>
#include <string_view>

#include "kernel_table_hash.h"

namespace vmla::kernels {
namespace {

std::atomic<const cuda::KernelTable*> loaded_kernels{nullptr};
std::atomic<void*> loaded_module{nullptr};
std::atomic<const cuda::KernelTable*> kernels_on_cpu{nullptr};

template <class Function>
Function exported(void* module, const char* name) {
  return reinterpret_cast<Function>(dlsym(module, name));
}

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
  const OpenedModule module = open_cuda_module(path);
  if (!module.problem.empty()) return module.problem;
  std::string reason = module.table->why_unusable();
  if (!reason.empty()) return reason;
  if (!at::globalContext().hasCUDA()) return "LibTorch sees no GPU";
  loaded_module = module.handle;
  loaded_kernels = module.table;
  return {};
}

}  // namespace

// Nothing is ever unloaded: LibTorch keeps pointers into its libraries.
OpenedModule open_cuda_module(const std::filesystem::path& path) {
  OpenedModule module;
  module.handle = dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (module.handle == nullptr) {
    module.problem = std::string("the CUDA module cannot be loaded: ") + dlerror();
    return module;
  }
  const auto hash = exported<cuda::TableHashFunction>(module.handle, cuda::kTableHashFunction);
  const auto table = exported<cuda::TableFunction>(module.handle, cuda::kTableFunction);
  if (hash == nullptr || table == nullptr || std::string_view(hash()) != kKernelTableHash) {
    module.problem = "the CUDA module " + path.string() +
                     " belongs to another build than this program: build both again (ninja "
                     "vmla_cuda programs)";
    return module;
  }
  module.table = table();
  return module;
}

std::string load_cuda_module() {
  static const std::string reason = load();
  return reason;
}

const cuda::KernelTable* cuda_kernels() {
  return loaded_kernels.load(std::memory_order_acquire);
}

void use_kernels_on_cpu(const cuda::KernelTable* table) {
  kernels_on_cpu = table;
}

const cuda::KernelTable* cpu_test_kernels() {
  return kernels_on_cpu.load(std::memory_order_acquire);
}

void* cuda_module_function(const char* name) {
  void* module = loaded_module.load(std::memory_order_acquire);
  return module == nullptr ? nullptr : dlsym(module, name);
}

const char* kernel_table_hash() {
  return kKernelTableHash;
}

}  // namespace vmla::kernels
