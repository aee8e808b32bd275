#pragma once

#include <cstdint>

namespace vmla::kernels::cuda {

/// What a buffer holds. All arithmetic is fp32, whatever is read and written.
enum class Element : int32_t { kFloat, kBFloat16 };

}  // namespace vmla::kernels::cuda
