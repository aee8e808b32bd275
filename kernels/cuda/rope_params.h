#pragma once

#include <cstdint>

#include "kernels/cuda/element.h"

namespace vmla::kernels::cuda {

struct RopeParams {
  Element element;
  const void* x;  // [B, L, N, K], dense channels
  int64_t x_batch_stride, x_token_stride, x_head_stride;
  const float* cos;  // [L, num_pairs]
  const float* sin;  // [L, num_pairs]
  void* y;           // [B, L, N, K]
  int64_t B, L, N, K;
  int64_t num_pairs, first_channel;
  bool inverse;  // rotate back: the gradient
};

}  // namespace vmla::kernels::cuda
