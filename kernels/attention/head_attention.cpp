#include "kernels/attention/head_attention.h"

#include <ATen/ATen.h>
#include <ATen/record_function.h>

#include "kernels/attention/head_attention_cpu.h"
#include "kernels/dispatch.h"
#include "kernels/fused_dispatch.h"
#include "kernels/kernel_record.h"

namespace vmla::kernels {
namespace {

// In floats: 2 MB of scratch, what an L2 cache holds. Beyond it the library's blocked kernel is as
// fast.
constexpr int64_t kMostWorkspace = int64_t{1} << 19;

HeadRows<const float> rows_of(const at::Tensor& t) {
  return {t.const_data_ptr<float>(), t.stride(0), t.stride(1), t.stride(2)};
}

HeadAttentionSizes sizes_of(const at::Tensor& q,
                            const at::Tensor& k,
                            const at::Tensor& v,
                            double scale) {
  return {.B = q.size(0),
          .N = q.size(2),
          .L = q.size(1),
          .keys = k.size(1),
          .values = v.size(1),
          .K = q.size(3),
          .V = v.size(3),
          .scale = scale};
}

}  // namespace

bool fits_head_attention(const at::Tensor& q_BLNK,
                         const at::Tensor& k_BMNK,
                         const at::Tensor& v_BMNV,
                         const std::vector<AttentionSegment>& segments) {
  const auto is_taken = [](const at::Tensor& t) {
    return (t.is_cpu() || wants_sizes_only(t)) && t.scalar_type() == at::kFloat;
  };
  if (!is_taken(q_BLNK) || !is_taken(k_BMNK) || !is_taken(v_BMNV)) return false;
  // Cheap bounds before the plan is made; the plan then counts exactly.
  const HeadAttentionSizes sizes = sizes_of(q_BLNK, k_BMNK, v_BMNV, 1.0);
  if (sizes.keys * sizes.K + sizes.values * sizes.V > kMostWorkspace) return false;
  return head_attention_workspace(sizes, plan_query_intervals(segments, sizes.L)) <= kMostWorkspace;
}

AttentionOutput head_attention(const at::Tensor& q_BLNK,
                               const at::Tensor& k_BMNK,
                               const at::Tensor& v_BMNV,
                               const std::vector<AttentionSegment>& segments,
                               double scale) {
  RECORD_FUNCTION(kKernelRecord, reading({q_BLNK, k_BMNK, v_BMNV}));
  const at::Tensor q = dense_channels(q_BLNK);
  const at::Tensor k = dense_channels(k_BMNK);
  const at::Tensor v = dense_channels(v_BMNV);
  const HeadAttentionSizes sizes = sizes_of(q, k, v, scale);
  const HeadAttentionPlan plan = plan_query_intervals(segments, sizes.L);
  const at::Tensor workspace = at::empty({head_attention_workspace(sizes, plan)}, q.options());
  AttentionOutput result{at::empty({sizes.B, sizes.L, sizes.N, sizes.V}, q.options()),
                         at::empty({sizes.B, sizes.N, sizes.L}, q.options())};
  if (wants_sizes_only(q)) return result;
  head_attention_cpu({.sizes = sizes,
                      .q = rows_of(q),
                      .k = rows_of(k),
                      .v = rows_of(v),
                      .out_BLNV = result.out_BLNV.mutable_data_ptr<float>(),
                      .lse_BNL = result.lse_BNL.mutable_data_ptr<float>(),
                      .workspace = workspace.mutable_data_ptr<float>()},
                     plan);
  return result;
}

AttentionGrads head_attention_backward(const at::Tensor& grad_out_BLNV,
                                       const at::Tensor& q_BLNK,
                                       const at::Tensor& k_BMNK,
                                       const at::Tensor& v_BMNV,
                                       const AttentionOutput& merged,
                                       const std::vector<AttentionSegment>& segments,
                                       double scale) {
  RECORD_FUNCTION(
      kKernelRecord,
      reading({grad_out_BLNV, q_BLNK, k_BMNK, v_BMNV, merged.out_BLNV, merged.lse_BNL}));
  const at::Tensor q = dense_channels(q_BLNK);
  const at::Tensor k = dense_channels(k_BMNK);
  const at::Tensor v = dense_channels(v_BMNV);
  const at::Tensor grad_out = dense_channels(grad_out_BLNV);
  const at::Tensor out = dense_channels(merged.out_BLNV);
  const at::Tensor lse = merged.lse_BNL.contiguous();
  const HeadAttentionSizes sizes = sizes_of(q, k, v, scale);
  const HeadAttentionPlan plan = plan_query_intervals(segments, sizes.L);
  const at::Tensor workspace = at::empty({head_attention_workspace(sizes, plan)}, q.options());
  AttentionGrads grads{at::empty(q.sizes(), q.options()),
                       at::empty(k.sizes(), k.options()),
                       at::empty(v.sizes(), v.options())};
  if (wants_sizes_only(q)) return grads;
  head_attention_backward_cpu({.sizes = sizes,
                               .grad_out = rows_of(grad_out),
                               .q = rows_of(q),
                               .k = rows_of(k),
                               .v = rows_of(v),
                               .out = rows_of(out),
                               .lse_BNL = lse.const_data_ptr<float>(),
                               .grad_q_BLNK = grads.q_BLNK.mutable_data_ptr<float>(),
                               .grad_k_BMNK = grads.k_BMNK.mutable_data_ptr<float>(),
                               .grad_v_BMNV = grads.v_BMNV.mutable_data_ptr<float>(),
                               .workspace = workspace.mutable_data_ptr<float>()},
                              plan);
  return grads;
}

}  // namespace vmla::kernels
