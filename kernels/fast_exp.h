#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "kernels/cpu_clones.h"

namespace vmla::kernels {

/// e^x in fp32 as straight-line arithmetic that loops vectorise: x = n ln 2 + r, a polynomial for
/// e^r and 2^n as a factor. Relative error below 1.2e-7 (1 ulp) for x in [-87, 88]; x is
/// clamped to that range; NaN stays NaN.
VMLA_INLINE float fast_exp(float x) {
  const float clamped = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
  // n + 127, the exponent field of 2^n, rounded to the nearest integer by truncating a number that
  // is never below 1.98; the bound is for NaN, which must not be converted.
  const float shifted = clamped * 1.44269504f + 127.5f;
  const int32_t field = static_cast<int32_t>(shifted > 1.0f ? shifted : 1.0f);
  const float steps = static_cast<float>(field - 127);
  // ln 2 in two parts: the first has 9 bits, so that its product with n is exact.
  const float r = (clamped - steps * 0.693359375f) + steps * 2.12194440e-4f;
  // Weighted least-squares fit on |r| <= ln(2)/2 with e^0 and its slope exact; relative
  // error 3.1e-9.
  const float tail =
      4.999999337e-1f +
      r * (1.666651950e-1f + r * (4.166840115e-2f + r * (8.368853887e-3f + r * 1.381433070e-3f)));
  const float e_r = 1.0f + (r + r * r * tail);
  return e_r * std::bit_cast<float>(field << 23);
}

/// The standard library's exp, so that one loop body serves both types.
VMLA_INLINE double fast_exp(double x) {
  return std::exp(x);
}

}  // namespace vmla::kernels
