#include "kernels/rope_3d/rope_3d_cpu.h"

#include <bit>

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
VMLA_INLINE void lay_out_angles(const RopeParams& p, int64_t l, int64_t heads, T* cos, T* sin) {
  const T sign = p.inverse ? T{-1} : T{1};
  const int64_t head_pairs = p.K / 2;
  const int64_t first = p.first_channel / 2;
  const T* cos_l = static_cast<const T*>(p.cos) + l * p.num_pairs;
  const T* sin_l = static_cast<const T*>(p.sin) + l * p.num_pairs;
  for (int64_t j = 0; j < heads * head_pairs; ++j) {
    cos[j] = 1;
    sin[j] = 0;
  }
  for (int64_t h = 0; h < heads; ++h) {
    for (int64_t j = 0; j < p.num_pairs; ++j) {
      cos[h * head_pairs + first + j] = cos_l[j];
      sin[h * head_pairs + first + j] = sin_l[j] * sign;
    }
  }
}

// Dense heads of whole pairs are one long row: no short loops.
template <class T>
VMLA_INLINE void rotate_joined_heads(const RopeParams& p, int64_t heads) {
  T cos[kMostChannels / 2];
  T sin[kMostChannels / 2];
  for (int64_t l = 0; l < p.L; ++l) {
    lay_out_angles(p, l, heads, cos, sin);
    for (int64_t b = 0; b < p.B; ++b) {
      const T* x = static_cast<const T*>(p.x) + b * p.x_batch_stride + l * p.x_token_stride;
      T* y = static_cast<T*>(p.y) + (b * p.L + l) * p.N * p.K;
      for (int64_t n = 0; n < p.N; n += heads) {
        rotate_pairs(x + n * p.x_head_stride, cos, sin, y + n * p.K, heads * (p.K / 2));
      }
    }
  }
}

template <class T>
VMLA_INLINE void rotate_each_head(const RopeParams& p) {
  const T sign = p.inverse ? T{-1} : T{1};
  const int64_t end_channel = p.first_channel + 2 * p.num_pairs;
  for (int64_t b = 0; b < p.B; ++b) {
    for (int64_t l = 0; l < p.L; ++l) {
      const T* cos = static_cast<const T*>(p.cos) + l * p.num_pairs;
      const T* sin = static_cast<const T*>(p.sin) + l * p.num_pairs;
      for (int64_t n = 0; n < p.N; ++n) {
        const T* x = static_cast<const T*>(p.x) + b * p.x_batch_stride + l * p.x_token_stride +
                     n * p.x_head_stride;
        T* y = static_cast<T*>(p.y) + ((b * p.L + l) * p.N + n) * p.K;
        for (int64_t d = 0; d < p.first_channel; ++d) y[d] = x[d];
        for (int64_t j = 0; j < p.num_pairs; ++j) {
          const int64_t d = p.first_channel + 2 * j;
          y[d] = x[d] * cos[j] - x[d + 1] * (sin[j] * sign);
          y[d + 1] = x[d] * (sin[j] * sign) + x[d + 1] * cos[j];
        }
        for (int64_t d = end_channel; d < p.K; ++d) y[d] = x[d];
      }
    }
  }
}

template <class T>
VMLA_INLINE void rotate_all(const RopeParams& p) {
  if (p.K % 2 != 0 || p.first_channel % 2 != 0 || p.K > kMostChannels)
    return rotate_each_head<T>(p);
  // As many heads at once as lie side by side, divide N and fit the table of angles.
  int64_t heads = p.x_head_stride == p.K ? p.N : 1;
  while (heads > 1 && (p.N % heads != 0 || heads * p.K > kMostChannels)) --heads;
  rotate_joined_heads<T>(p, heads);
}

float bf16_value(const void* scales, int64_t i) {
  return std::bit_cast<float>(static_cast<uint32_t>(static_cast<const uint16_t*>(scales)[i]) << 16);
}

// One part's rows, whose first has the angles of row `first_row` of the table.
template <class T>
VMLA_INLINE void write_rows(const RopeLatentsParams& p,
                            const LatentPartParams& part,
                            int64_t b,
                            int64_t first_row) {
  const int64_t P = 2 * p.num_pairs, width = p.R + P;
  const int64_t rows = p.window.tokens + p.own.tokens;
  for (int64_t m = 0; m < part.tokens; ++m) {
    const int64_t row = first_row + m;
    T* to = static_cast<T*>(p.rows) + (b * rows + row) * width;
    const int64_t place = b * part.content_batch_stride + m * part.content_token_stride;
    if (part.scale) {
      const T scale = static_cast<T>(
          bf16_value(part.scale, b * part.scale_batch_stride + m * part.scale_token_stride));
      const int8_t* content = static_cast<const int8_t*>(part.content) + place;
      VMLA_INDEPENDENT
      for (int64_t r = 0; r < p.R; ++r) to[r] = static_cast<T>(content[r]) * scale;
    } else {
      const T* content = static_cast<const T*>(part.content) + place;
      VMLA_INDEPENDENT
      for (int64_t r = 0; r < p.R; ++r) to[r] = content[r];
    }
    rotate_pairs(
        static_cast<const T*>(part.key) + b * part.key_batch_stride + m * part.key_token_stride,
        static_cast<const T*>(p.cos) + row * p.num_pairs,
        static_cast<const T*>(p.sin) + row * p.num_pairs,
        to + p.R,
        p.num_pairs);
  }
}

template <class T>
VMLA_INLINE void write_all_rows(const RopeLatentsParams& p) {
  for (int64_t b = 0; b < p.query.B; ++b) {
    write_rows<T>(p, p.window, b, 0);
    write_rows<T>(p, p.own, b, p.window.tokens);
  }
}

}  // namespace

VMLA_CLONES void rope_latents_cpu(const RopeLatentsParams& params) {
  rope_cpu(params.query);
  if (params.query.element == Element::kDouble) return write_all_rows<double>(params);
  write_all_rows<float>(params);
}

VMLA_CLONES void rope_cpu(const RopeParams& params) {
  if (params.element == Element::kDouble) return rotate_all<double>(params);
  rotate_all<float>(params);
}

}  // namespace vmla::kernels
