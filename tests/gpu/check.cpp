#include "tests/gpu/check.h"

#include <ATen/ATen.h>
#include <dlfcn.h>

#include <filesystem>
#include <stdexcept>

#include "kernels/cuda_module.h"

namespace vmla::tests::gpu {
namespace {

/// Without LibTorch's stack trace: the message says it all.
template <class... Parts>
void require(bool condition, const Parts&... parts) {
  if (!condition) throw std::runtime_error(c10::str(parts...));
}

}  // namespace

void require_near(const std::string& what,
                  const at::Tensor& actual,
                  const at::Tensor& expected,
                  double tolerance) {
  require(actual.sizes() == expected.sizes(),
          what,
          ": shapes ",
          actual.sizes(),
          " and ",
          expected.sizes());
  if (actual.numel() == 0) return;
  const at::Tensor a = actual.detach().to(at::kCPU, at::kDouble).contiguous().flatten();
  const at::Tensor e = expected.detach().to(at::kCPU, at::kDouble).contiguous().flatten();
  // Rows that nothing attends to have an LSE of -inf on both sides.
  const at::Tensor error =
      (a - e).abs().masked_fill(a == e, 0.0).nan_to_num(INFINITY, INFINITY, INFINITY);
  const double worst = error.max().item<double>();
  const double size = e.abs().nan_to_num(0.0, 0.0, 0.0).max().item<double>();
  const int64_t at = error.argmax().item<int64_t>();
  require(worst <= tolerance * size,
          what,
          ": element ",
          at,
          " of ",
          actual.sizes(),
          " is ",
          a[at].item<double>(),
          ", expected ",
          e[at].item<double>(),
          "; allowed is ",
          tolerance,
          " of the largest, ",
          size);
}

bool load_cuda() {
  const auto module =
      std::filesystem::read_symlink("/proc/self/exe").parent_path() / "libvmla_cuda.so";
  if (std::filesystem::exists(module)) {
    const std::string reason = kernels::load_cuda_module();
    require(reason.empty(), reason);
    return true;
  }
  // The wheel keeps libtorch_cuda beside libtorch_cpu, which holds this function.
  Dl_info here{};
  const bool found =
      dladdr(reinterpret_cast<void*>(&at::globalContext), &here) != 0 && here.dli_fname != nullptr;
  require(found, "cannot tell where libtorch_cpu.so lies");
  const auto library = std::filesystem::path(here.dli_fname).parent_path() / "libtorch_cuda.so";
  // Before the first question about CUDA: LibTorch remembers its answer.
  require(dlopen(library.c_str(), RTLD_NOW | RTLD_GLOBAL) != nullptr, dlerror());
  require(at::globalContext().hasCUDA(), "LibTorch sees no GPU");
  return false;
}

}  // namespace vmla::tests::gpu
