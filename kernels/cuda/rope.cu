// Rotates adjacent channel pairs: (a, b) -> (a cos - b sin, a sin + b cos); the gradient is the
// rotation back. Other channels pass through. Angles and arithmetic in fp32. A warp takes a head,
// or a row of latents with its rope key, in packs where the channels allow it.
#include "kernels/cuda/rows.cuh"

namespace vmla::kernels::cuda {
namespace {

/// Which of K channels are turned, and by which rows of a table: [rows, num_pairs] in fp32.
struct Rotation {
  const void* cos;
  const void* sin;
  int64_t num_pairs, first_channel, K;
  float sign;  // of the sines: -1 turns back
};

/// K channels of x to y, turned by row l of the table, a pair or a channel at once.
template <class T>
__device__ inline void rotate_singly(const T* x, const Rotation& r, int64_t l, T* y) {
  const float* cos = static_cast<const float*>(r.cos) + l * r.num_pairs;
  const float* sin = static_cast<const float*>(r.sin) + l * r.num_pairs;
  for (int64_t d = lane_index(); d < r.first_channel; d += kWarpSize) y[d] = x[d];
  for (int64_t pair = lane_index(); pair < r.num_pairs; pair += kWarpSize) {
    const int64_t d = r.first_channel + 2 * pair;
    const float sine = sin[pair] * r.sign;
    const float first = read(x, d), second = read(x, d + 1);
    write(y, d, first * cos[pair] - second * sine);
    write(y, d + 1, first * sine + second * cos[pair]);
  }
  const int64_t end_channel = r.first_channel + 2 * r.num_pairs;
  for (int64_t d = end_channel + lane_index(); d < r.K; d += kWarpSize) y[d] = x[d];
}

/// Likewise, a pack at once, all of which is turned or none (rotates_packs).
template <class T>
__device__ inline void rotate_in_packs(const T* x, const Rotation& r, int64_t l, T* y) {
  constexpr int kPairs = kPack / 2;
  for (int64_t d = lane_index() * kPack; d < r.K; d += kWarpSize * kPack) {
    float v[kPack];
    read_pack(x, d, v);
    const int64_t pair = (d - r.first_channel) / 2;
    if (d >= r.first_channel && pair < r.num_pairs) {
      float cos[kPairs], sin[kPairs];
      read_pack(static_cast<const float*>(r.cos), l * r.num_pairs + pair, cos);
      read_pack(static_cast<const float*>(r.sin), l * r.num_pairs + pair, sin);
      for (int k = 0; k < kPairs; ++k) {
        const float first = v[2 * k], second = v[2 * k + 1], sine = sin[k] * r.sign;
        v[2 * k] = first * cos[k] - second * sine;
        v[2 * k + 1] = first * sine + second * cos[k];
      }
    }
    write_pack(y, d, v);
  }
}

template <int N, class T>
__device__ inline void rotate(const T* x, const Rotation& r, int64_t l, T* y) {
  if constexpr (N == kPack) {
    rotate_in_packs(x, r, l, y);
  } else {
    rotate_singly(x, r, l, y);
  }
}

/// Whether what is turned begins and ends with a pack, in the channels and in the table.
bool rotates_packs(const void* cos, const void* sin, int64_t num_pairs, int64_t first_channel) {
  return first_channel % kPack == 0 &&
         takes_packs(2 * num_pairs, {{cos, 2 * num_pairs}, {sin, 2 * num_pairs}});
}
bool rotates_packs(const RopeParams& p) {
  return rotates_packs(p.cos, p.sin, p.num_pairs, p.first_channel) &&
         takes_packs(
             p.K, {{p.x, p.x_token_stride, p.x_batch_stride}, {p.x, p.x_head_stride}, {p.y, p.K}});
}

template <int N, class T>
__device__ inline void rotate_head(const RopeParams& p, int64_t row) {
  const int64_t n = row % p.N;
  const int64_t l = row / p.N % p.L;
  const int64_t b = row / p.N / p.L;
  const T* x = static_cast<const T*>(p.x) + b * p.x_batch_stride + l * p.x_token_stride +
               n * p.x_head_stride;
  T* y = static_cast<T*>(p.y) + row * p.K;
  const float sign = p.inverse ? -1.0f : 1.0f;
  rotate<N>(x, {p.cos, p.sin, p.num_pairs, p.first_channel, p.K, sign}, l, y);
}

template <int N, class T>
__global__ void __launch_bounds__(kThreads) rotate_heads(RopeParams p) {
  for (int64_t row = first_row(); row < p.B * p.L * p.N; row += row_step())
    rotate_head<N, T>(p, row);
}

/// Row `row` of all batches: one token's latent, N channels at once, and its rotated rope key, H.
template <int N, int H, class T>
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
  rotate<H>(key, {p.cos, p.sin, p.num_pairs, 0, 2 * p.num_pairs, 1.0f}, l, to + p.R);
}

template <int N, int H, class T>
__global__ void __launch_bounds__(kThreads) rotate_with_latents(RopeLatentsParams p) {
  const int64_t heads = p.query.B * p.query.L * p.query.N;
  const int64_t all = heads + p.query.B * (p.window.tokens + p.own.tokens);
  for (int64_t row = first_row(); row < all; row += row_step()) {
    if (row < heads) {
      rotate_head<H, T>(p.query, row);
    } else {
      write_latent_row<N, H, T>(p, row - heads);
    }
  }
}

}  // namespace

Status launch_rope(const RopeParams& p, Stream stream) {
  return with_element(p.element, [&](auto element) -> Status {
    using T = typename decltype(element)::type;
    return with_packs(rotates_packs(p), [&](auto count) -> Status {
      const auto kernel = rotate_heads<decltype(count)::value, T>;
      return launch(kernel, row_blocks(p.B * p.L * p.N), kThreads, stream, p);
    });
  });
}

Status launch_rope_latents(const RopeLatentsParams& p, Stream stream) {
  const RopeParams& q = p.query;
  const int64_t rows = q.B * (q.L * q.N + p.window.tokens + p.own.tokens);
  const int64_t key_channels = 2 * p.num_pairs, width = p.R + key_channels;
  const bool latents_pack =
      takes_packs(p.R,
                  {{p.window.content, p.window.content_token_stride, p.window.content_batch_stride},
                   {p.own.content, p.own.content_token_stride, p.own.content_batch_stride},
                   {p.rows, width}});
  const bool heads_pack =
      rotates_packs(q) && rotates_packs(p.cos, p.sin, p.num_pairs, p.R) &&
      takes_packs(key_channels,
                  {{p.window.key, p.window.key_token_stride, p.window.key_batch_stride},
                   {p.own.key, p.own.key_token_stride, p.own.key_batch_stride},
                   {p.rows, width}});
  return with_element(q.element, [&](auto element) -> Status {
    using T = typename decltype(element)::type;
    return with_packs(latents_pack, [&](auto latents) -> Status {
      return with_packs(heads_pack, [&](auto heads) -> Status {
        const auto kernel =
            rotate_with_latents<decltype(latents)::value, decltype(heads)::value, T>;
        return launch(kernel, row_blocks(rows), kThreads, stream, p);
      });
    });
  });
}

}  // namespace vmla::kernels::cuda
