#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "kernels/attention/attention.h"

namespace vmla::kernels {

/// Attention over segments through LibTorch's attention kernels, one call a segment, merged by
/// log-sum-exp in fp32 (fp64 for fp64). Neither function is recorded by autograd. Segments must be
/// non-empty and lie inside the tensors.
AttentionOutput merge_segments(const at::Tensor& q_BLNK,
                               const at::Tensor& k_BMNK,
                               const at::Tensor& v_BMNV,
                               const std::vector<AttentionSegment>& segments,
                               double scale);

struct AttentionGrads {
  at::Tensor q_BLNK, k_BMNK, v_BMNV;
};

/// The gradients, from the merged output and LSE. What several segments contribute to the same
/// query or key is added in fp32 (fp64 for fp64), in the order of the segments.
AttentionGrads merge_segments_backward(const at::Tensor& grad_out_BLNV,
                                       const at::Tensor& q_BLNK,
                                       const at::Tensor& k_BMNK,
                                       const at::Tensor& v_BMNV,
                                       const AttentionOutput& merged,
                                       const std::vector<AttentionSegment>& segments,
                                       double scale);

}  // namespace vmla::kernels
