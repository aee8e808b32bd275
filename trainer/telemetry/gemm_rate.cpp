#include "trainer/telemetry/gemm_rate.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <chrono>

namespace vmla::trainer {

double measure_gemm_tflops(const std::string& device) {
  const at::NoGradGuard no_grad;
  const bool on_cpu = device == "cpu";
  const int64_t n = on_cpu ? 512 : 8192;
  const auto dtype = on_cpu ? at::kFloat : at::kBFloat16;
  // Not drawn from any generator: a measurement must not move the state of one.
  const at::Tensor a =
      at::linspace(-1, 1, n * n, at::kFloat).view({n, n}).to(at::Device(device), dtype);
  double best = 0;
  constexpr int kTries = 4;
  for (int i = 0; i < kTries; ++i) {
    const auto start = std::chrono::steady_clock::now();
    const at::Tensor c = a.matmul(a);
    c.select(0, 0).select(0, 0).item<float>();  // waits for the device
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    best = std::max(best, 2.0 * static_cast<double>(n * n * n) / seconds * 1e-12);
  }
  return best;
}

double gemm_tflops(const std::string& device) {
  static const double rate = measure_gemm_tflops(device);
  return rate;
}

double flops_utilisation(double tflops, int64_t devices, const std::string& device) {
  return tflops / (static_cast<double>(devices) * gemm_tflops(device));
}

}  // namespace vmla::trainer
