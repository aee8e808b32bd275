#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "kernels/attention/attention.h"
#include "kernels/attention/segment_merge.h"

namespace vmla::kernels {

/// Whether head_attention takes this call: fp32 on the CPU, and one head's keys and values fit the
/// L2 cache.
bool fits_head_attention(const at::Tensor& q_BLNK,
                         const at::Tensor& k_BMNK,
                         const at::Tensor& v_BMNV,
                         const std::vector<AttentionSegment>& segments);

/// The same results as merge_segments and its backward (segment_merge.h), by our own loops
/// (head_attention_cpu.h). Neither is recorded by autograd.
AttentionOutput head_attention(const at::Tensor& q_BLNK,
                               const at::Tensor& k_BMNK,
                               const at::Tensor& v_BMNV,
                               const std::vector<AttentionSegment>& segments,
                               double scale);
AttentionGrads head_attention_backward(const at::Tensor& grad_out_BLNV,
                                       const at::Tensor& q_BLNK,
                                       const at::Tensor& k_BMNK,
                                       const at::Tensor& v_BMNV,
                                       const AttentionOutput& merged,
                                       const std::vector<AttentionSegment>& segments,
                                       double scale);

}  // namespace vmla::kernels
