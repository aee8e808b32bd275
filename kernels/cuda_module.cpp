#include "kernels/cuda_module.h"

#include <ATen/ATen.h>
#include <dlfcn.h>

#include <atomic>
#include <cstdlib>
#include <string_view>

#include "kernel_table_hash.h"
#include "kernels/gpu_driver.h"

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
    return "this build has no CUDA module (libvmla_cuda.so beside the program): launch/setup "
           "--cuda "
           "builds it";
  }
  // The driver first: that saves half a second of loading, and its answers are plainer than those
  // of CUDA's runtime.
  std::string reason =
      why_no_gpu(driver_answer(), cuda_build(), std::getenv("CUDA_VISIBLE_DEVICES"));
  if (!reason.empty()) return reason;
  const OpenedModule module = open_cuda_module(path);
  if (!module.problem.empty()) return module.problem;
  reason = module.table->why_unusable();
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
    const std::string said = dlerror();
    module.problem = "the CUDA module cannot be loaded: " + said;
    // The loader's words for a library that is not there: most likely LibTorch's own.
    if (said.find("cannot open shared object file") != std::string::npos) {
      module.problem += "; launch/setup --cuda installs LibTorch's CUDA libraries";
    }
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
