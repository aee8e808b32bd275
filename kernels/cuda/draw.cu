// The streams of counter_rng.h: a thread takes a block of four words. Compiled without fused
// products, as the CPU's loops are: the same operations in the same order round alike.
#include "kernels/counter_rng/box_muller.h"
#include "kernels/cuda/rows.cuh"

namespace vmla::kernels::cuda {
namespace {

/// Writes four numbers from `block`, or those of them that lie below `count`.
__device__ inline void write_block(const float (&numbers)[4], int64_t block, DrawParams p) {
  for (int j = 0; j < 4; ++j) {
    const int64_t i = 4 * block + j;
    if (i < p.count) p.out[i] = numbers[j];
  }
}

__global__ void __launch_bounds__(kThreads) draw_normal_blocks(DrawParams p) {
  for (int64_t block = first_item(); 4 * block < p.count; block += item_step()) {
    uint32_t words[4];
    philox_words(p.key, static_cast<uint64_t>(block), words);
    float numbers[4];
    for (int half = 0; half < 2; ++half) {
      const float radius = sqrtf(minus_two_log(open_uniform(words[2 * half])));
      float cosine, sine;
      cos_sin_turns(open_uniform(words[2 * half + 1]), cosine, sine);
      numbers[2 * half] = radius * cosine;
      numbers[2 * half + 1] = radius * sine;
    }
    write_block(numbers, block, p);
  }
}

__global__ void __launch_bounds__(kThreads) draw_uniform_blocks(DrawParams p) {
  for (int64_t block = first_item(); 4 * block < p.count; block += item_step()) {
    uint32_t words[4];
    philox_words(p.key, static_cast<uint64_t>(block), words);
    float numbers[4];
    for (int j = 0; j < 4; ++j) numbers[j] = half_open_uniform(words[j]);
    write_block(numbers, block, p);
  }
}

}  // namespace

Status launch_normals(const DrawParams& p, Stream stream) {
  draw_normal_blocks<<<blocks_for(p.count, 4 * kThreads), kThreads, 0, stream>>>(p);
  return cudaGetLastError();
}

Status launch_uniforms(const DrawParams& p, Stream stream) {
  draw_uniform_blocks<<<blocks_for(p.count, 4 * kThreads), kThreads, 0, stream>>>(p);
  return cudaGetLastError();
}

}  // namespace vmla::kernels::cuda
