#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/attention/sdpa_backend.h"

namespace vmla::kernels {

/// out [B, L, N, V] and lse [B, N, L] absorb attention to other keys, in place (docs/algorithms.md
/// 3.7): lse' = log(e^lse + e^l), out' = e^(lse - lse') out + e^(l - lse') o, for the part's o and
/// l. out and lse are fp32 (fp64 for fp64 parts), out with dense heads and channels; rows that
/// nothing was merged into have an lse of -infinity, those of the part are finite. Not recorded by
/// autograd.
void merge_part_(const at::Tensor& out_BLNV, const at::Tensor& lse_BNL, const SdpaOutput& part);
/// The definition, in plain ATen operations.
void merge_part_reference_(const at::Tensor& out_BLNV,
                           const at::Tensor& lse_BNL,
                           const SdpaOutput& part);

}  // namespace vmla::kernels
