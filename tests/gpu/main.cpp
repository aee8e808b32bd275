#include <ATen/ATen.h>

#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>

#include "tests/gpu/check.h"

using namespace vmla::tests::gpu;

namespace {

/// Runs a check and says how it went.
bool passes(const Check& check, at::Device device) {
  try {
    check.run(device);
  } catch (const std::exception& error) {
    std::printf("FAILED %s: %s\n", check.name.c_str(), error.what());
    return false;
  }
  std::printf("ok     %s\n", check.name.c_str());
  return true;
}

}  // namespace

// gpu_tests [cpu]: on a GPU, or, to check the checks, on the CPU. A machine without one skips all.
int main(int argc, char** argv) {
  const bool on_cpu = argc > 1 && std::string(argv[1]) == "cpu";
  const at::Device device(on_cpu ? at::kCPU : at::kCUDA);
  std::vector<Check> checks = kernel_checks();
  for (const Check& check : backend_checks(device)) checks.push_back(check);
  for (const Check& check : network_checks()) checks.push_back(check);
  for (const Check& check : sampling_checks()) checks.push_back(check);
  if (!on_cpu) {
    try {
      std::printf(load_cuda() ? "with the module's kernels\n" : "with LibTorch's kernels alone\n");
    } catch (const std::exception& error) {
      // Where the driver has made its device file, there is a GPU, and not to use it is a failure.
      if (std::filesystem::exists("/dev/nvidiactl")) {
        std::printf("FAILED to use this machine's GPU: %s\n", error.what());
        return 1;
      }
      std::printf("skipped: no GPU to check on: %s\n", error.what());
      std::printf("0 passed, 0 failed, %zu skipped\n", checks.size());
      return 0;
    }
    const std::vector<Check> of_nccl = nccl_checks();
    if (of_nccl.empty()) std::printf("skipped: NCCL, which this build's module does not have\n");
    checks.insert(checks.end(), of_nccl.begin(), of_nccl.end());
  }
  int failed = 0;
  for (const Check& check : checks) failed += passes(check, device) ? 0 : 1;
  std::printf(
      "%d passed, %d failed, 0 skipped\n", static_cast<int>(checks.size()) - failed, failed);
  return failed == 0 ? 0 : 1;
}
