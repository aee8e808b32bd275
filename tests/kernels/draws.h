#pragma once

#include "kernels/counter_rng/counter_rng.h"

namespace vmla::tests {

/// Standard normal test data, a function of `stream` alone.
inline at::Tensor draw(uint64_t stream, at::IntArrayRef sizes, at::ScalarType dtype = at::kDouble) {
  return kernels::normal({.seed = 20, .purpose = kernels::Purpose::kSynthetic, .sample = stream},
                         sizes)
      .to(dtype);
}

}  // namespace vmla::tests
