#include "kernels/attention/merge_part.h"

#include <ATen/ATen.h>
#include <ATen/record_function.h>

#include "kernels/attention/merge_part_cpu.h"
#include "kernels/dispatch.h"
#include "kernels/fused_dispatch.h"
#include "kernels/kernel_record.h"

namespace vmla::kernels {
namespace {

void merge_fused(const at::Tensor& out, const at::Tensor& lse, const SdpaOutput& given) {
  const at::Tensor part = dense_channels(given.out_BLNV);
  const at::Tensor part_lse = dense_channels(given.lse_BNL);
  run_fused(part,
            merge_part_cpu,
            &cuda::KernelTable::merge_part,
            {.element = element_of(part),
             .out = out.mutable_data_ptr(),
             .out_batch_stride = out.stride(0),
             .out_token_stride = out.stride(1),
             .lse = lse.mutable_data_ptr(),
             .lse_batch_stride = lse.stride(0),
             .lse_head_stride = lse.stride(1),
             .part = part.const_data_ptr(),
             .part_batch_stride = part.stride(0),
             .part_token_stride = part.stride(1),
             .part_head_stride = part.stride(2),
             .part_lse = part_lse.const_data_ptr(),
             .part_lse_batch_stride = part_lse.stride(0),
             .part_lse_head_stride = part_lse.stride(1),
             .B = out.size(0),
             .L = out.size(1),
             .N = out.size(2),
             .V = out.size(3)});
}

bool has_dense_heads(const at::Tensor& out_BLNV, const at::Tensor& lse_BNL) {
  const auto dense = [](const at::Tensor& x, int64_t dim, int64_t stride) {
    return x.size(dim) <= 1 || x.stride(dim) == stride;
  };
  return dense(out_BLNV, 3, 1) && dense(out_BLNV, 2, out_BLNV.size(3)) && dense(lse_BNL, 2, 1);
}

}  // namespace

void merge_part_(const at::Tensor& out_BLNV, const at::Tensor& lse_BNL, const SdpaOutput& part) {
  TORCH_CHECK(part.out_BLNV.sizes() == out_BLNV.sizes() &&
                  part.lse_BNL.sizes() == lse_BNL.sizes() && has_dense_heads(out_BLNV, lse_BNL),
              "merge_part: a part of the sizes of what it is merged into expected, ",
              out_BLNV.sizes(),
              " with dense heads, got ",
              part.out_BLNV.sizes());
  RECORD_FUNCTION(kKernelRecord,
                  reading({out_BLNV, out_BLNV, lse_BNL, lse_BNL, part.out_BLNV, part.lse_BNL}));
  if (wants_sizes_only(out_BLNV)) return;
  if (takes_fused(FusedOp::kMergePart, {part.out_BLNV}, {out_BLNV, lse_BNL, part.lse_BNL})) {
    merge_fused(out_BLNV, lse_BNL, part);
  } else {
    merge_part_reference_(out_BLNV, lse_BNL, part);
  }
}

void merge_part_reference_(const at::Tensor& out_BLNV,
                           const at::Tensor& lse_BNL,
                           const SdpaOutput& part) {
  const at::Tensor total = at::logaddexp(lse_BNL, part.lse_BNL);
  const auto weight = [&](const at::Tensor& lse) {
    return (lse - total).exp_().transpose(1, 2).unsqueeze(-1);  // [B, L, N, 1]
  };
  out_BLNV.mul_(weight(lse_BNL)).add_(part.out_BLNV * weight(part.lse_BNL));
  lse_BNL.copy_(total);
}

}  // namespace vmla::kernels
