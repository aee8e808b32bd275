#pragma once

#include <cstdint>

#include "kernels/counter_rng/philox.h"

namespace vmla::kernels {

/// Writes elements 0..count-1 of the key's stream of standard normals: words (0, 1) of block i/4
/// give elements 4(i/4) and 4(i/4)+1, words (2, 3) the next two, by Box-Muller on u = ((w >> 8) +
/// 0.5) * 2^-24 rounded to fp32. Logarithm, sine and cosine are ours and no product is fused with a
/// sum: bits are the same on every CPU. Each is within 3e-7 * max(1, |z|) of the exact transform of
/// the same words.
void draw_normals(const PhiloxKey& key, int64_t count, float* out);

/// Writes elements 0..count-1 of the stream of uniforms in [0, 1): (w >> 8) * 2^-24.
void draw_uniforms(const PhiloxKey& key, int64_t count, float* out);

}  // namespace vmla::kernels
