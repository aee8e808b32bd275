#include "kernels/counter_rng/draw_cpu.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "kernels/cpu_clones.h"

// Compiled with -ffp-contract=off and without reassociation, so that all clones round alike.

namespace vmla::kernels {
namespace {

constexpr int kBlocks = 64;  // blocks drawn together: 256 numbers, all in the L1 cache

// The words of kBlocks consecutive blocks, word by word, so that the rounds vectorise over blocks.
struct BlockWords {
  uint32_t w0[kBlocks], w1[kBlocks], w2[kBlocks], w3[kBlocks];
};

VMLA_INLINE void draw_blocks(const PhiloxKey& key, uint64_t first_block, BlockWords& out) {
  for (int j = 0; j < kBlocks; ++j) {
    const uint64_t block = first_block + static_cast<uint64_t>(j);
    out.w0[j] = static_cast<uint32_t>(block);
    out.w1[j] = static_cast<uint32_t>(block >> 32);
    out.w2[j] = key.step_low;
    out.w3[j] = key.sample_low;
  }
  uint32_t key0 = key.key[0];
  uint32_t key1 = key.key[1];
  for (int round = 0; round < 10; ++round) {
    for (int j = 0; j < kBlocks; ++j) {
      const uint64_t product0 = static_cast<uint64_t>(0xD2511F53u) * out.w0[j];
      const uint64_t product1 = static_cast<uint64_t>(0xCD9E8D57u) * out.w2[j];
      out.w0[j] = static_cast<uint32_t>(product1 >> 32) ^ out.w1[j] ^ key0;
      out.w1[j] = static_cast<uint32_t>(product1);
      out.w2[j] = static_cast<uint32_t>(product0 >> 32) ^ out.w3[j] ^ key1;
      out.w3[j] = static_cast<uint32_t>(product0);
    }
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
}

// The 24 high bits are converted through int32, which is exact and has a vector instruction at
// every level.
VMLA_INLINE float open_uniform(uint32_t word) {
  return (static_cast<float>(static_cast<int32_t>(word >> 8)) + 0.5f) * 0x1p-24f;
}

// -2 ln(u) for u in [2^-25, 1]: u = 2^e * m with m in [sqrt(1/2), sqrt(2)), ln(m) = 2 atanh(s), s =
// (m-1)/(m+1), |s| < 0.1716, so the odd series of atanh is cut after s^9 (next term: 2e-9
// relative).
VMLA_INLINE float minus_two_log(float u) {
  const uint32_t bits = std::bit_cast<uint32_t>(u);
  const uint32_t shifted = bits - 0x3F3504F3u;  // so that the exponent field steps at sqrt(1/2)
  const int32_t exponent = static_cast<int32_t>(shifted) >> 23;
  const float m = std::bit_cast<float>((shifted & 0x007FFFFFu) + 0x3F3504F3u);
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
  const int32_t n = static_cast<int32_t>(quarters + 0.5f);
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

VMLA_INLINE void normals_of(const BlockWords& words, float* out) {
  for (int j = 0; j < kBlocks; ++j) {
    const float r0 = std::sqrt(minus_two_log(open_uniform(words.w0[j])));
    const float r1 = std::sqrt(minus_two_log(open_uniform(words.w2[j])));
    float c0, s0, c1, s1;
    cos_sin_turns(open_uniform(words.w1[j]), c0, s0);
    cos_sin_turns(open_uniform(words.w3[j]), c1, s1);
    out[4 * j] = r0 * c0;
    out[4 * j + 1] = r0 * s0;
    out[4 * j + 2] = r1 * c1;
    out[4 * j + 3] = r1 * s1;
  }
}

VMLA_INLINE void uniforms_of(const BlockWords& words, float* out) {
  const auto unit = [](uint32_t word) {
    return static_cast<float>(static_cast<int32_t>(word >> 8)) * 0x1p-24f;
  };
  for (int j = 0; j < kBlocks; ++j) {
    out[4 * j] = unit(words.w0[j]);
    out[4 * j + 1] = unit(words.w1[j]);
    out[4 * j + 2] = unit(words.w2[j]);
    out[4 * j + 3] = unit(words.w3[j]);
  }
}

// Runs `transform` over the stream; the last batch goes through a buffer, so that no element
// depends on the count.
template <class Transform>
VMLA_INLINE void draw(const PhiloxKey& key, int64_t count, float* out, Transform transform) {
  constexpr int64_t kBatch = 4 * kBlocks;
  BlockWords words;
  int64_t done = 0;
  for (; done + kBatch <= count; done += kBatch) {
    draw_blocks(key, static_cast<uint64_t>(done / 4), words);
    transform(words, out + done);
  }
  if (done < count) {
    float last[kBatch];
    draw_blocks(key, static_cast<uint64_t>(done / 4), words);
    transform(words, last);
    std::memcpy(out + done, last, static_cast<size_t>(count - done) * sizeof(float));
  }
}

}  // namespace

VMLA_CLONES void draw_normals(const PhiloxKey& key, int64_t count, float* out) {
  draw(key, count, out, [](const BlockWords& words, float* to) VMLA_INLINE_LAMBDA {
    normals_of(words, to);
  });
}

VMLA_CLONES void draw_uniforms(const PhiloxKey& key, int64_t count, float* out) {
  draw(key, count, out, [](const BlockWords& words, float* to) VMLA_INLINE_LAMBDA {
    uniforms_of(words, to);
  });
}

}  // namespace vmla::kernels
