#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace vmla::kernels {

/// LibTorch's attention kernel for 16-bit heads on a GPU. Published figures have cuDNN's at 1.6
/// times flash on capability 9.0 (docs/gpu.md). It takes heads of at most 128; wider ones, of the
/// absorbed form, go to flash in any case.
enum class GpuAttention : uint8_t { kFlash, kCudnn };
/// "flash" or "cudnn"; nothing for another word.
std::optional<GpuAttention> gpu_attention_named(std::string_view word);
/// From now on, in this process.
void set_gpu_attention(GpuAttention kernel);
GpuAttention gpu_attention();

/// Compares the chosen kernel on `device` with the formulas in fp64: output, log-sum-exp, and the
/// gradients of two parts of the keys whose attention was merged, at sizes that are no multiple of
/// a tile. Empty where they agree, else in one line where they differ, or why it does not run.
std::string problem_of_gpu_attention(at::Device device);

}  // namespace vmla::kernels
