#pragma once

#include <cstdint>

namespace vmla::kernels {

/// What a buffer of a fused op holds. CUDA kernels take fp32 and bf16 and compute in fp32; the
/// CPU's loops take fp32 and fp64 and compute in that.
enum class Element : int32_t { kFloat, kBFloat16, kDouble };

}  // namespace vmla::kernels
