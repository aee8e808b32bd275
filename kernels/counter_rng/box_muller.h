#pragma once

#include <cstdint>

#include "kernels/counter_rng/philox.h"
#include "kernels/cpu_clones.h"

// From random words to uniforms and to the parts of Box and Muller's transform, by additions,
// products and quotients alone: these round alike on every CPU, as long as the compiler neither
// fuses products with sums nor reorders sums (kernels/CMakeLists.txt has the flags).

namespace vmla::kernels {

// Uniform in (0, 1): the logarithm of it exists. The 24 high bits are converted through int32,
// which is exact and has a vector instruction at every x86-64 level.
VMLA_INLINE float open_uniform(uint32_t word) {
  return (static_cast<float>(static_cast<int32_t>(word >> 8)) + 0.5f) * 0x1p-24f;
}

// Uniform in [0, 1), exact like the one above.
VMLA_INLINE float half_open_uniform(uint32_t word) {
  return static_cast<float>(static_cast<int32_t>(word >> 8)) * 0x1p-24f;
}

// -2 ln(u) for u in [2^-25, 1]: u = 2^e * m with m in [sqrt(1/2), sqrt(2)), ln(m) = 2 atanh(s), s =
// (m-1)/(m+1), |s| < 0.1716, so the odd series of atanh is cut after s^9 (next term: 2e-9
// relative).
VMLA_INLINE float minus_two_log(float u) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, u);
  const uint32_t shifted = bits - 0x3F3504F3u;  // so that the exponent field steps at sqrt(1/2)
  const int32_t exponent = static_cast<int32_t>(shifted) >> 23;
  const float m = __builtin_bit_cast(float, (shifted & 0x007FFFFFu) + 0x3F3504F3u);
  const float s = (m - 1.0f) / (m + 1.0f);
  const float z = s * s;
  const float series = z * (0.333333333f + z * (0.2f + z * (0.142857143f + z * 0.111111111f)));
  const float log_m = 2.0f * s + 2.0f * s * series;
  return -2.0f * (static_cast<float>(exponent) * 0.693147181f + log_m);
}

// cos and sin of 2 pi u for u in (0, 1]. The quarter turn is split off exactly; what is left is at
// most pi/4, where Taylor series to x^9 and x^10 are exact to fp32.
VMLA_INLINE void cos_sin_turns(float u, float& cosine, float& sine) {
  const float quarters = u * 4.0f;
  const float next = quarters + 0.5f;  // positive, so that truncation rounds to the nearest
  const int32_t n = static_cast<int32_t>(next);
  const float x = (quarters - static_cast<float>(n)) * 1.57079633f;
  const float z = x * x;
  const float s =
      x +
      x * z * (-1.66666667e-1f + z * (8.33333333e-3f + z * (-1.98412698e-4f + z * 2.75573192e-6f)));
  const float c =
      1.0f - 0.5f * z +
      z * z * (4.16666667e-2f + z * (-1.38888889e-3f + z * (2.48015873e-5f - z * 2.75573192e-7f)));
  const bool odd = (n & 1) != 0;
  const float c_abs = odd ? s : c;
  const float s_abs = odd ? c : s;
  cosine = ((n + 1) & 2) != 0 ? -c_abs : c_abs;
  sine = (n & 2) != 0 ? -s_abs : s_abs;
}

}  // namespace vmla::kernels
