#pragma once

#include <cstdint>

#include "kernels/counter_rng/philox.h"

namespace vmla::kernels::cuda {

/// Elements 0..count-1 of the key's stream.
struct DrawParams {
  PhiloxKey key;
  float* out;
  int64_t count;
};

}  // namespace vmla::kernels::cuda
