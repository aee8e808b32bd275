#include "kernels/rope_3d/rope_3d_cpu.h"

#include "kernels/cpu_clones.h"

namespace vmla::kernels {
namespace {

constexpr int64_t kMostChannels = 512;  // of the table of angles laid out for several heads

// Rotates `pairs` adjacent pairs with one angle each.
template <class T>
VMLA_INLINE void rotate_pairs(const T* x, const T* cos, const T* sin, T* y, int64_t pairs) {
  VMLA_INDEPENDENT
  for (int64_t p = 0; p < pairs; ++p) {
    const T a = x[2 * p];
    const T b = x[2 * p + 1];
    y[2 * p] = a * cos[p] - b * sin[p];
    y[2 * p + 1] = a * sin[p] + b * cos[p];
  }
}

// The angles of `heads` heads side by side, channels that are not rotated getting the angle 0.
template <class T>
VMLA_INLINE void lay_out_angles(const RopeArgs<T>& a, int64_t l, int64_t heads, T* cos, T* sin) {
  const T sign = a.inverse ? T{-1} : T{1};
  const int64_t head_pairs = a.K / 2;
  const int64_t first = a.first_channel / 2;
  for (int64_t p = 0; p < heads * head_pairs; ++p) {
    cos[p] = 1;
    sin[p] = 0;
  }
  for (int64_t h = 0; h < heads; ++h) {
    for (int64_t p = 0; p < a.num_pairs; ++p) {
      cos[h * head_pairs + first + p] = a.cos[l * a.num_pairs + p];
      sin[h * head_pairs + first + p] = a.sin[l * a.num_pairs + p] * sign;
    }
  }
}

// Dense heads of whole pairs are one long row: no short loops.
template <class T>
VMLA_INLINE void rotate_joined_heads(const RopeArgs<T>& a, int64_t heads) {
  T cos[kMostChannels / 2];
  T sin[kMostChannels / 2];
  for (int64_t l = 0; l < a.L; ++l) {
    lay_out_angles(a, l, heads, cos, sin);
    for (int64_t b = 0; b < a.B; ++b) {
      const T* x = a.x + b * a.x_batch_stride + l * a.x_token_stride;
      T* y = a.y + (b * a.L + l) * a.N * a.K;
      for (int64_t n = 0; n < a.N; n += heads) {
        rotate_pairs(x + n * a.x_head_stride, cos, sin, y + n * a.K, heads * (a.K / 2));
      }
    }
  }
}

template <class T>
VMLA_INLINE void rotate_each_head(const RopeArgs<T>& a) {
  const T sign = a.inverse ? T{-1} : T{1};
  const int64_t end_channel = a.first_channel + 2 * a.num_pairs;
  for (int64_t b = 0; b < a.B; ++b) {
    for (int64_t l = 0; l < a.L; ++l) {
      const T* cos = a.cos + l * a.num_pairs;
      const T* sin = a.sin + l * a.num_pairs;
      for (int64_t n = 0; n < a.N; ++n) {
        const T* x = a.x + b * a.x_batch_stride + l * a.x_token_stride + n * a.x_head_stride;
        T* y = a.y + ((b * a.L + l) * a.N + n) * a.K;
        for (int64_t d = 0; d < a.first_channel; ++d) y[d] = x[d];
        for (int64_t p = 0; p < a.num_pairs; ++p) {
          const int64_t d = a.first_channel + 2 * p;
          y[d] = x[d] * cos[p] - x[d + 1] * (sin[p] * sign);
          y[d + 1] = x[d] * (sin[p] * sign) + x[d + 1] * cos[p];
        }
        for (int64_t d = end_channel; d < a.K; ++d) y[d] = x[d];
      }
    }
  }
}

template <class T>
VMLA_INLINE void rotate_all(const RopeArgs<T>& a) {
  if (a.K % 2 != 0 || a.first_channel % 2 != 0 || a.K > kMostChannels) return rotate_each_head(a);
  // As many heads at once as lie side by side, divide N and fit the table of angles.
  int64_t heads = a.x_head_stride == a.K ? a.N : 1;
  while (heads > 1 && (a.N % heads != 0 || heads * a.K > kMostChannels)) --heads;
  rotate_joined_heads(a, heads);
}

}  // namespace

VMLA_CLONES void rope_cpu(const RopeArgs<float>& args) {
  rotate_all(args);
}
VMLA_CLONES void rope_cpu(const RopeArgs<double>& args) {
  rotate_all(args);
}

}  // namespace vmla::kernels
