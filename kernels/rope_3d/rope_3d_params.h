#pragma once

#include <cstdint>

#include "kernels/element.h"

namespace vmla::kernels {

/// Rotation of channels [first_channel, first_channel + 2 num_pairs) of every head, the others
/// copied. The table is fp32, or fp64 where x is.
struct RopeParams {
  Element element;  // of x and y
  const void* x;    // [B, L, N, K], dense channels
  int64_t x_batch_stride, x_token_stride, x_head_stride;
  const void* cos;  // [L, num_pairs]
  const void* sin;  // [L, num_pairs]
  void* y;          // [B, L, N, K]
  int64_t B, L, N, K;
  int64_t num_pairs, first_channel;
  bool inverse;  // rotate back: the gradient
};

}  // namespace vmla::kernels
