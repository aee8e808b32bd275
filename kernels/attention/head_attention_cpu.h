#pragma once

#include <cstdint>
#include <vector>

#include "kernels/attention/attention_segment.h"

namespace vmla::kernels {

/// Consecutive query rows that see the same keys: ranges [first_range, first_range + range_count)
/// of the plan. Intervals cover every query row once, in order; one without keys gives zeros and an
/// LSE of -inf.
struct QueryInterval {
  int64_t query_begin, query_count;
  int64_t first_range, range_count;
};
/// Consecutive key rows, and the value rows that go with them.
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

/// Attention in fp32, one (batch, head) at a time, with everything that it needs in the L2 cache.
/// The scores of 8 queries against all their keys are formed at once, so that one softmax runs over
/// the union of the ranges and nothing has to be merged. Each element is within 2e-6 of the exact
/// result for scores of a few units.
struct HeadAttentionForward {
  HeadAttentionSizes sizes;
  HeadRows<const float> q, k, v;
  float* out_BLNV;   // contiguous
  float* lse_BNL;    // contiguous
  float* workspace;  // head_attention_workspace(...) elements
};

/// Every row of the gradients is written; rows that no range touches get zeros.
struct HeadAttentionBackward {
  HeadAttentionSizes sizes;
  HeadRows<const float> grad_out, q, k, v, out;
  const float* lse_BNL;  // contiguous
  float* grad_q_BLNK;    // contiguous, likewise the next two
  float* grad_k_BMNK;
  float* grad_v_BMNV;
  float* workspace;
};

/// Elements of scratch that forward and backward need; a function of the sizes and the plan.
int64_t head_attention_workspace(const HeadAttentionSizes& sizes, const HeadAttentionPlan& plan);

void head_attention_cpu(const HeadAttentionForward& args, const HeadAttentionPlan& plan);
void head_attention_backward_cpu(const HeadAttentionBackward& args, const HeadAttentionPlan& plan);

}  // namespace vmla::kernels
