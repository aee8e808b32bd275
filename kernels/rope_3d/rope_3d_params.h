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

/// Rows that latent attention reads: of each token the latent and behind it the rotated rope key
/// that all heads share. They are written from two parts that lie apart, those that a cache keeps
/// and those of the sequence itself.
struct LatentPartParams {
  const void* content = nullptr;  // [B, tokens, R], dense channels; int8 where there is a scale
  int64_t content_batch_stride = 0, content_token_stride = 0;
  const void* scale = nullptr;  // [B, tokens], bf16: what content is multiplied with; null: 1
  int64_t scale_batch_stride = 0, scale_token_stride = 0;
  const void* key = nullptr;  // [B, tokens, 2 num_pairs], dense channels
  int64_t key_batch_stride = 0, key_token_stride = 0;
  int64_t tokens = 0;
};

/// Those rows, and queries, which are rotated in the same pass.
struct RopeLatentsParams {
  RopeParams query;
  LatentPartParams window, own;  // of the query's element
  const void* cos;               // [window.tokens + own.tokens, num_pairs]
  const void* sin;
  void* rows;  // [B, window.tokens + own.tokens, R + 2 num_pairs]
  int64_t R, num_pairs;
};

}  // namespace vmla::kernels
