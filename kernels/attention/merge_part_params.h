#pragma once

#include <cstdint>

#include "kernels/element.h"

namespace vmla::kernels {

/// A segment's attention, joined with what other segments gave the same queries. `element` is what
/// the part holds; out and both log-sum-exps are fp32, or fp64 where the part is.
struct MergePartParams {
  Element element;
  void* out;  // [B, L, N, V], a token's heads and channels dense
  int64_t out_batch_stride, out_token_stride;
  void* lse;  // [B, N, L], tokens dense
  int64_t lse_batch_stride, lse_head_stride;
  const void* part;  // [B, L, N, V], dense channels
  int64_t part_batch_stride, part_token_stride, part_head_stride;
  const void* part_lse;  // [B, N, L], tokens dense
  int64_t part_lse_batch_stride, part_lse_head_stride;
  int64_t B, L, N, V;
};

}  // namespace vmla::kernels
