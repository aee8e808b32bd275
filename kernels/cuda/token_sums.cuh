#pragma once

#include "kernels/cuda/rows.cuh"
#include "kernels/token_chunks.h"

// Sums over the tokens of each frame: gradients of what all tokens of a frame share (shift, scale,
// gate, norm gains). Chunks of tokens are summed first, then the chunks, in an order that depends
// on the shape alone and without atomics: every run gives the same bits.
namespace vmla::kernels::cuda {

constexpr int kSumRows = 8;  // tokens that a block adds side by side

/// terms.add(frame, token, channel, sums) adds the terms of N channels to Terms::kSums sums of
/// each. Block (x, y, z): 32 N channels, a chunk, frames z, z + gridDim.z, ... partial: [kSums,
/// frames, chunks, D]. A channel's sum has the same order whatever N is.
template <int N, class Terms>
__global__ void __launch_bounds__(kWarpSize* kSumRows)
    sum_chunks(Terms terms, int64_t frames, int64_t tokens, int64_t D, float* partial) {
  constexpr int kSums = Terms::kSums;
  VMLA_SHARED(float, part, [kSums][kSumRows][N][kWarpSize]);
  const int column = static_cast<int>(threadIdx.x);
  const int row = static_cast<int>(threadIdx.y);
  const int64_t d = (static_cast<int64_t>(blockIdx.x) * kWarpSize + column) * N;
  const int64_t chunk = blockIdx.y;
  const int64_t chunks = gridDim.y;
  const int64_t begin = tokens * chunk / chunks;
  const int64_t end = tokens * (chunk + 1) / chunks;
  for (int64_t f = blockIdx.z; f < frames; f += gridDim.z) {
    float sums[kSums][N] = {};
    if (d < D) {
      for (int64_t s = begin + row; s < end; s += kSumRows) terms.add(f, s, d, sums);
    }
    for (int k = 0; k < kSums; ++k) {
      for (int n = 0; n < N; ++n) part[k][row][n][column] = sums[k][n];
    }
    __syncthreads();
    if (row == 0 && d < D) {
      for (int k = 0; k < kSums; ++k) {
        float total[N] = {};
        for (int r = 0; r < kSumRows; ++r) {
          for (int n = 0; n < N; ++n) total[n] += part[k][r][n][column];
        }
        write_pack(partial, ((k * frames + f) * chunks + chunk) * D + d, total);
      }
    }
    __syncthreads();  // before the next frame overwrites what row 0 reads
  }
}

/// out[f, d] = sum over the chunks of partial[f, chunk, d].
template <class W>
__global__ void __launch_bounds__(kThreads)
    add_chunks(const float* partial, int64_t frames, int64_t chunks, int64_t D, W* out) {
  for (int64_t i = first_item(); i < frames * D; i += item_step()) {
    const float* terms = partial + (i / D) * chunks * D + i % D;
    float total = 0;
    for (int64_t c = 0; c < chunks; ++c) total += terms[c * D];
    write(out, i, total);
  }
}

/// Both steps: outs[k] [frames, D] for the k-th sum. partial: Terms::kSums * frames *
/// token_chunks(tokens) * D floats of scratch. `packs`: rows that the terms read take packs
/// (takes_packs).
template <class W, class Terms>
Status launch_token_sums(const Terms& terms,
                         int64_t frames,
                         int64_t tokens,
                         int64_t D,
                         bool packs,
                         float* partial,
                         void* const (&outs)[Terms::kSums],
                         Stream stream) {
  if (frames == 0 || D == 0) return cudaSuccess;
  constexpr int64_t kMostFrames = 65535;  // of a grid's third dimension
  const int64_t chunks = token_chunks(tokens);
  Status status = with_packs(packs && takes_packs(D, {{partial, D}}), [&](auto count) -> Status {
    constexpr int N = decltype(count)::value;
    const dim3 grid(static_cast<unsigned>((D + kWarpSize * N - 1) / (kWarpSize * N)),
                    static_cast<unsigned>(chunks),
                    static_cast<unsigned>(frames < kMostFrames ? frames : kMostFrames));
    const dim3 block(kWarpSize, kSumRows);
    return launch(sum_chunks<N, Terms>, grid, block, stream, terms, frames, tokens, D, partial);
  });
  for (int k = 0; k < Terms::kSums && status == cudaSuccess; ++k) {
    status = launch(add_chunks<W>,
                    blocks_for(frames * D, kThreads),
                    kThreads,
                    stream,
                    partial + k * frames * chunks * D,
                    frames,
                    chunks,
                    D,
                    static_cast<W*>(outs[k]));
  }
  return status;
}

}  // namespace vmla::kernels::cuda
