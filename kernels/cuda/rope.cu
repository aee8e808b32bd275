// Rotates adjacent channel pairs: (a, b) -> (a cos - b sin, a sin + b cos); the gradient is the
// rotation back. Other channels pass through. Angles and arithmetic in fp32. A warp takes a head,
// or a row of latents with its rope key.
#include "kernels/cuda/rows.cuh"

namespace vmla::kernels::cuda {
namespace {

/// Pairs of x from channel d on to y, by the angles of row l of a table.
template <class T>
__device__ inline void rotate_pairs(
    const T* x, const void* cos, const void* sin, int64_t l, int64_t num_pairs, float sign, T* y) {
  for (int64_t pair = lane_index(); pair < num_pairs; pair += kWarpSize) {
    const float cosine = static_cast<const float*>(cos)[l * num_pairs + pair];
    const float sine = static_cast<const float*>(sin)[l * num_pairs + pair] * sign;
    const float first = read(x, 2 * pair);
    const float second = read(x, 2 * pair + 1);
    write(y, 2 * pair, first * cosine - second * sine);
    write(y, 2 * pair + 1, first * sine + second * cosine);
  }
}

template <class T>
__device__ inline void rotate_head(const RopeParams& p, int64_t row) {
  const int64_t end_channel = p.first_channel + 2 * p.num_pairs;
  const int64_t n = row % p.N;
  const int64_t l = row / p.N % p.L;
  const int64_t b = row / p.N / p.L;
  const T* x = static_cast<const T*>(p.x) + b * p.x_batch_stride + l * p.x_token_stride +
               n * p.x_head_stride;
  T* y = static_cast<T*>(p.y) + row * p.K;
  for (int64_t d = lane_index(); d < p.first_channel; d += kWarpSize) y[d] = x[d];
  const float sign = p.inverse ? -1.0f : 1.0f;
  rotate_pairs(x + p.first_channel, p.cos, p.sin, l, p.num_pairs, sign, y + p.first_channel);
  for (int64_t d = end_channel + lane_index(); d < p.K; d += kWarpSize) y[d] = x[d];
}

template <class T>
__global__ void __launch_bounds__(kThreads) rotate_heads(RopeParams p) {
  for (int64_t row = first_row(); row < p.B * p.L * p.N; row += row_step()) rotate_head<T>(p, row);
}

/// Row `row` of all batches: one token's latent and rotated rope key.
template <int N, class T>
__device__ inline void write_latent_row(const RopeLatentsParams& p, int64_t row) {
  const int64_t rows = p.window.tokens + p.own.tokens;
  const int64_t b = row / rows;
  const int64_t l = row % rows;
  const bool in_window = l < p.window.tokens;
  const LatentPartParams& part = in_window ? p.window : p.own;
  const int64_t m = in_window ? l : l - p.window.tokens;
  T* to = static_cast<T*>(p.rows) + row * (p.R + 2 * p.num_pairs);
  const int64_t place = b * part.content_batch_stride + m * part.content_token_stride;
  float v[N];
  if (part.scale) {
    const float scale = read(static_cast<const __nv_bfloat16*>(part.scale),
                             b * part.scale_batch_stride + m * part.scale_token_stride);
    for (int64_t r = lane_index() * N; r < p.R; r += kWarpSize * N) {
      read_pack(static_cast<const int8_t*>(part.content) + place, r, v);
      for (int k = 0; k < N; ++k) v[k] *= scale;
      write_pack(to, r, v);
    }
  } else {
    for (int64_t r = lane_index() * N; r < p.R; r += kWarpSize * N) {
      read_pack(static_cast<const T*>(part.content) + place, r, v);
      write_pack(to, r, v);
    }
  }
  const T* key =
      static_cast<const T*>(part.key) + b * part.key_batch_stride + m * part.key_token_stride;
  rotate_pairs(key, p.cos, p.sin, l, p.num_pairs, 1.0f, to + p.R);
}

template <int N, class T>
__global__ void __launch_bounds__(kThreads) rotate_with_latents(RopeLatentsParams p) {
  const int64_t heads = p.query.B * p.query.L * p.query.N;
  const int64_t all = heads + p.query.B * (p.window.tokens + p.own.tokens);
  for (int64_t row = first_row(); row < all; row += row_step()) {
    if (row < heads) {
      rotate_head<T>(p.query, row);
    } else {
      write_latent_row<N, T>(p, row - heads);
    }
  }
}

}  // namespace

Status launch_rope(const RopeParams& p, Stream stream) {
  return with_element(p.element, [&](auto element) -> Status {
    using T = typename decltype(element)::type;
    return launch(rotate_heads<T>, row_blocks(p.B * p.L * p.N), kThreads, stream, p);
  });
}

Status launch_rope_latents(const RopeLatentsParams& p, Stream stream) {
  const RopeParams& q = p.query;
  const int64_t rows = q.B * (q.L * q.N + p.window.tokens + p.own.tokens);
  const bool packs =
      takes_packs(p.R,
                  {{p.window.content, p.window.content_token_stride, p.window.content_batch_stride},
                   {p.own.content, p.own.content_token_stride, p.own.content_batch_stride},
                   {p.rows, p.R + 2 * p.num_pairs}});
  return with_element(q.element, [&](auto element) -> Status {
    using T = typename decltype(element)::type;
    return with_packs(packs, [&](auto count) -> Status {
      const auto kernel = rotate_with_latents<decltype(count)::value, T>;
      return launch(kernel, row_blocks(rows), kThreads, stream, p);
    });
  });
}

}  // namespace vmla::kernels::cuda
