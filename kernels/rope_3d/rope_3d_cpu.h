#pragma once

#include <cstdint>

namespace vmla::kernels {

template <class T>
struct RopeArgs {
  const T* x;  // [B, L, N, K], dense channels
  int64_t x_batch_stride, x_token_stride, x_head_stride;
  const T* cos;  // [L, num_pairs]
  const T* sin;  // [L, num_pairs]
  T* y;          // [B, L, N, K]
  int64_t B, L, N, K;
  int64_t num_pairs, first_channel;
  bool inverse;  // rotate back: the gradient
};

/// One pass over memory; a token's angles are laid out for all heads once and used for the whole
/// batch.
void rope_cpu(const RopeArgs<float>& args);
void rope_cpu(const RopeArgs<double>& args);

}  // namespace vmla::kernels
