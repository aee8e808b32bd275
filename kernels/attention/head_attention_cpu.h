#pragma once

#include <cstdint>
#include <vector>

#include "kernels/attention/attention_segment.h"

namespace vmla::kernels {

/// Queries that see the same keys, and these keys as a stretch of `HeadAttentionPlan::keys`.
/// Intervals cover every query row once, in order; one without keys gives zeros and an LSE of -inf.
struct QueryInterval {
  int64_t query_begin, query_count;
  int64_t first_range, range_count;
};
struct KeyRange {
  int64_t key_begin, value_begin, count;
};
struct HeadAttentionPlan {
  std::vector<QueryInterval> intervals;
  std::vector<KeyRange> ranges;
};

/// Cuts the query rows [0, L) wherever the set of segments that cover them changes.
HeadAttentionPlan plan_query_intervals(const std::vector<AttentionSegment>& segments, int64_t L);

/// Where a [B, M, N, K] tensor with dense channels lies.
template <class T>
struct HeadRows {
  T* data;
  int64_t batch_stride, row_stride, head_stride;
};

struct HeadAttentionSizes {
  int64_t B, N, L, keys, values, K, V;
  double scale;
};

/// Attention in fp32, one (batch, head) at a time with everything it needs in the L2 cache: the
/// scores of 8 queries against all their keys, one softmax over the union of the ranges, so nothing
/// is merged. Element-wise within 2e-6 of the exact result for scores of a few units.
struct HeadAttentionForward {
  HeadAttentionSizes sizes;
  HeadRows<const float> q, k, v;
  float* out_BLNV;   // contiguous
  float* lse_BNL;    // contiguous
  float* workspace;  // head_attention_workspace(...) elements
};

/// Gradients are written whole: rows that no range touches get zeros.
struct HeadAttentionBackward {
  HeadAttentionSizes sizes;
  HeadRows<const float> grad_out, q, k, v, out;
  const float* lse_BNL;  // contiguous
  float* grad_q_BLNK;    // contiguous, likewise the next two
  float* grad_k_BMNK;
  float* grad_v_BMNV;
  float* workspace;
};

/// Elements of scratch that either direction wants; it depends on the sizes and the plan alone.
int64_t head_attention_workspace(const HeadAttentionSizes& sizes, const HeadAttentionPlan& plan);

void head_attention_cpu(const HeadAttentionForward& args, const HeadAttentionPlan& plan);
void head_attention_backward_cpu(const HeadAttentionBackward& args, const HeadAttentionPlan& plan);

}  // namespace vmla::kernels
