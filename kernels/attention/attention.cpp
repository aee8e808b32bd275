#include "kernels/attention/attention.h"

#include <ATen/ATen.h>
#include <ATen/core/ivalue.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels/attention/head_attention.h"
#include "kernels/attention/segment_merge.h"
#include "kernels/dispatch.h"

namespace vmla::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Autograd keeps a Function's plain data as IValues, which have no type for a segment: a flat list
// of whole numbers stands for them.
constexpr size_t kSegmentFields = 5;

std::vector<int64_t> to_list(const std::vector<AttentionSegment>& segments) {
  std::vector<int64_t> list;
  list.reserve(segments.size() * kSegmentFields);
  for (const AttentionSegment& s : segments) {
    list.insert(list.end(),
                {s.query_begin, s.query_count, s.key_begin, s.value_begin, s.key_count});
  }
  return list;
}

std::vector<AttentionSegment> from_list(const std::vector<int64_t>& list) {
  std::vector<AttentionSegment> segments;
  segments.reserve(list.size() / kSegmentFields);
  for (size_t i = 0; i < list.size(); i += kSegmentFields) {
    segments.push_back({list[i], list[i + 1], list[i + 2], list[i + 3], list[i + 4]});
  }
  return segments;
}

// Multiply-adds of the scores and of the weighted values, as kAttentionRecord's argument.
std::vector<c10::IValue> multiply_adds(const at::Tensor& q,
                                       const at::Tensor& v,
                                       const std::vector<AttentionSegment>& segments,
                                       double forwards) {
  double pairs = 0;
  for (const AttentionSegment& s : segments)
    pairs += static_cast<double>(s.query_count) * static_cast<double>(s.key_count);
  const auto of_a_pair = static_cast<double>(q.size(0) * q.size(2) * (q.size(3) + v.size(3)));
  return {forwards * pairs * of_a_pair};
}

AttentionOutput forward_any(const at::Tensor& q,
                            const at::Tensor& k,
                            const at::Tensor& v,
                            const std::vector<AttentionSegment>& segments,
                            double scale) {
  RECORD_FUNCTION(kAttentionRecord, multiply_adds(q, v, segments, 1));
  if (fits_head_attention(q, k, v, segments)) return head_attention(q, k, v, segments, scale);
  return merge_segments(q, k, v, segments, scale);
}

struct SegmentedAttention : torch::autograd::Function<SegmentedAttention> {
  static variable_list forward(AutogradContext* ctx,
                               const at::Tensor& q,
                               const at::Tensor& k,
                               const at::Tensor& v,
                               const std::vector<AttentionSegment>& segments,
                               double scale,
                               const AttentionOutput& known) {
    AttentionOutput result =
        known.out_BLNV.defined() ? known : forward_any(q, k, v, segments, scale);
    ctx->save_for_backward({q, k, v, result.out_BLNV, result.lse_BNL});
    ctx->mark_non_differentiable({result.lse_BNL});
    ctx->saved_data["segments"] = to_list(segments);
    ctx->saved_data["scale"] = scale;
    return {result.out_BLNV, result.lse_BNL};
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list s = ctx->get_saved_variables();
    const auto segments = from_list(ctx->saved_data["segments"].toIntVector());
    RECORD_FUNCTION(kAttentionRecord, multiply_adds(s[0], s[2], segments, 2));
    const auto run = fits_head_attention(s[0], s[1], s[2], segments) ? head_attention_backward
                                                                     : merge_segments_backward;
    AttentionGrads d = run(
        grads[0], s[0], s[1], s[2], {s[3], s[4]}, segments, ctx->saved_data["scale"].toDouble());
    return {d.q_BLNK, d.k_BMNK, d.v_BMNV, at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

void check_inputs(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  TORCH_CHECK(q.dim() == 4 && k.dim() == 4 && v.dim() == 4,
              "segmented_attention: q [B, L, N, K], k [B, M, N, K], v [B, M, N, V] expected, got ",
              q.sizes(),
              ", ",
              k.sizes(),
              ", ",
              v.sizes());
  TORCH_CHECK(
      k.size(0) == q.size(0) && v.size(0) == q.size(0) && k.size(2) == q.size(2) &&
          v.size(2) == q.size(2) && k.size(3) == q.size(3),
      "segmented_attention: one batch size, one number of heads, one q/k head dim expected, got ",
      q.sizes(),
      ", ",
      k.sizes(),
      ", ",
      v.sizes());
}

// The segments that are not empty: the kernels below divide by their sizes. Checks that they lie
// inside the tensors.
std::vector<AttentionSegment> checked_segments(const std::vector<AttentionSegment>& segments,
                                               int64_t L,
                                               int64_t key_rows,
                                               int64_t value_rows) {
  std::vector<AttentionSegment> kept;
  kept.reserve(segments.size());
  const auto inside = [](int64_t begin, int64_t count, int64_t rows) {
    return begin >= 0 && count >= 0 && begin + count <= rows;
  };
  for (const AttentionSegment& s : segments) {
    TORCH_CHECK(inside(s.query_begin, s.query_count, L) &&
                    inside(s.key_begin, s.key_count, key_rows) &&
                    inside(s.value_begin, s.key_count, value_rows),
                "segmented_attention: segment outside ",
                L,
                " queries, ",
                key_rows,
                " keys or ",
                value_rows,
                " values: queries ",
                s.query_begin,
                "+",
                s.query_count,
                ", keys ",
                s.key_begin,
                ", values ",
                s.value_begin,
                ", +",
                s.key_count);
    if (s.query_count > 0 && s.key_count > 0) kept.push_back(s);
  }
  return kept;
}

}  // namespace

AttentionOutput KeptAttention::take() {
  TORCH_CHECK(taken_ < outputs_.size(), "a forward that runs again attends more often than before");
  return std::exchange(outputs_[taken_++], {});
}

std::vector<at::Tensor> KeptAttention::hand_over() {
  std::vector<at::Tensor> tensors;
  for (AttentionOutput& output : outputs_) {
    tensors.push_back(std::exchange(output.out_BLNV, {}));
    tensors.push_back(std::exchange(output.lse_BNL, {}));
  }
  return tensors;
}

void KeptAttention::give_back(const std::vector<at::Tensor>& tensors) {
  TORCH_CHECK(tensors.size() == 2 * outputs_.size(), "results of another number of calls");
  for (size_t i = 0; i < outputs_.size(); ++i) outputs_[i] = {tensors[2 * i], tensors[2 * i + 1]};
}

AttentionOutput segmented_attention(const at::Tensor& q_BLNK,
                                    const at::Tensor& k_BMNK,
                                    const at::Tensor& v_BMNV,
                                    const std::vector<AttentionSegment>& segments,
                                    double scale,
                                    KeptAttention* kept) {
  check_inputs(q_BLNK, k_BMNK, v_BMNV);
  const auto filled = checked_segments(segments, q_BLNK.size(1), k_BMNK.size(1), v_BMNV.size(1));
  AttentionOutput known = kept && kept->runs_again() ? kept->take() : AttentionOutput{};
  if (wants_gradient(q_BLNK, k_BMNK, v_BMNV)) {
    variable_list result = SegmentedAttention::apply(q_BLNK, k_BMNK, v_BMNV, filled, scale, known);
    return {result[0], result[1]};
  }
  if (known.out_BLNV.defined()) return known;
  AttentionOutput result = forward_any(q_BLNK, k_BMNK, v_BMNV, filled, scale);
  if (kept) kept->keep(result);
  return result;
}

}  // namespace vmla::kernels
