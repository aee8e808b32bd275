#include "kernels/attention/gpu_attention.h"

#include <ATen/ATen.h>

#include <atomic>
#include <cmath>

#include "kernels/attention/sdpa_backend.h"
#include "kernels/kernel_comparison.h"

namespace vmla::kernels {
namespace {

std::atomic<GpuAttention> chosen{GpuAttention::kFlash};

constexpr int64_t kQueries = 72, kKeys = 200, kFirstKeys = 136, kHeads = 3;

struct Inputs {
  at::Tensor q_BLNK, k_BMNK, v_BMNV, grad_BLNV;
};

Inputs inputs_on(at::Device device, at::ScalarType dtype) {
  const auto draw = [&](uint64_t stream, int64_t rows, int64_t width) {
    return comparison_draw(stream, {1, rows, kHeads, width}).to(at::kBFloat16).to(device, dtype);
  };
  constexpr int64_t kWidth = 128, kValueWidth = 96;
  return {draw(21, kQueries, kWidth),
          draw(22, kKeys, kWidth),
          draw(23, kKeys, kValueWidth),
          draw(24, kQueries, kValueWidth)};
}

/// Output, log-sum-exp and gradients; the keys' in two parts, given what all keys together gave.
std::vector<at::Tensor> attended(const Inputs& in) {
  const double scale = 1 / std::sqrt(static_cast<double>(in.q_BLNK.size(-1)));
  const SdpaOutput whole = sdpa(in.q_BLNK, in.k_BMNK, in.v_BMNV, scale);
  const auto part = [&](int64_t begin, int64_t count) {
    return sdpa_backward(in.grad_BLNV,
                         in.q_BLNK,
                         in.k_BMNK.narrow(1, begin, count),
                         in.v_BMNV.narrow(1, begin, count),
                         whole.out_BLNV,
                         whole.lse_BNL,
                         scale);
  };
  const SdpaGrads first = part(0, kFirstKeys), second = part(kFirstKeys, kKeys - kFirstKeys);
  return {whole.out_BLNV,
          whole.lse_BNL,
          first.q_BLNK + second.q_BLNK,
          at::cat({first.k_BMNK, second.k_BMNK}, 1),
          at::cat({first.v_BMNV, second.v_BMNV}, 1)};
}

}  // namespace

std::optional<GpuAttention> gpu_attention_named(std::string_view word) {
  if (word == "flash") return GpuAttention::kFlash;
  if (word == "cudnn") return GpuAttention::kCudnn;
  return std::nullopt;
}

void set_gpu_attention(GpuAttention kernel) {
  chosen = kernel;
}

GpuAttention gpu_attention() {
  return chosen;
}

std::string problem_of_gpu_attention(at::Device device) {
  constexpr const char* kNames[] = {"its output",
                                    "its log-sum-exp",
                                    "its query's gradient",
                                    "its keys' gradient",
                                    "its values' gradient"};
  // Weights and results are rounded to bf16 (2^-9), sums of a hundred of them to a few times that.
  constexpr double kTolerance = 0x1p-6;
  try {
    const auto actual = attended(inputs_on(device, at::kBFloat16));
    const auto expected = attended(inputs_on(at::kCPU, at::kDouble));
    for (size_t i = 0; i < actual.size(); ++i) {
      const auto [error, size] = deviation(actual[i], expected[i]);
      if (!(error <= kTolerance * size)) {
        return c10::str(
            kNames[i], " is off by ", error, ", at most ", kTolerance * size, " is rounding");
      }
    }
    return {};
  } catch (const c10::Error& error) {
    const std::string text = error.what_without_backtrace();
    return text.substr(0, text.find('\n'));
  }
}

}  // namespace vmla::kernels
