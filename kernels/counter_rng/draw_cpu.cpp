#include "kernels/counter_rng/draw_cpu.h"

#include <cmath>
#include <cstring>

#include "kernels/counter_rng/box_muller.h"
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
  for (int j = 0; j < kBlocks; ++j) {
    out[4 * j] = half_open_uniform(words.w0[j]);
    out[4 * j + 1] = half_open_uniform(words.w1[j]);
    out[4 * j + 2] = half_open_uniform(words.w2[j]);
    out[4 * j + 3] = half_open_uniform(words.w3[j]);
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
