#include "kernels/attention/segment_merge.h"

#include <ATen/ATen.h>

#include <limits>

#include "kernels/attention/merge_part.h"
#include "kernels/attention/sdpa_backend.h"
#include "kernels/dispatch.h"

namespace vmla::kernels {
namespace {

bool queries_overlap(const AttentionSegment& a, const AttentionSegment& b) {
  return a.query_begin < b.query_begin + b.query_count &&
         b.query_begin < a.query_begin + a.query_count;
}

bool shares_queries(const std::vector<AttentionSegment>& segments, size_t index) {
  for (size_t other = 0; other < segments.size(); ++other) {
    if (other != index && queries_overlap(segments[index], segments[other])) return true;
  }
  return false;
}

// Whether a single call over all queries gives the result, without any merging.
bool is_single_call(const std::vector<AttentionSegment>& segments, int64_t L) {
  return segments.size() == 1 && segments[0].query_begin == 0 && segments[0].query_count == L;
}

// Gradient shares are added in the accumulate type, into one buffer a tensor.
at::Tensor zero_accumulator(const at::Tensor& like) {
  return at::zeros(like.sizes(), like.options().dtype(accumulate_type(like)));
}

}  // namespace

AttentionOutput merge_segments(const at::Tensor& q_BLNK,
                               const at::Tensor& k_BMNK,
                               const at::Tensor& v_BMNV,
                               const std::vector<AttentionSegment>& segments,
                               double scale) {
  const int64_t B = q_BLNK.size(0);
  const int64_t L = q_BLNK.size(1);
  const int64_t N = q_BLNK.size(2);
  const auto part_of = [&](const AttentionSegment& s) {
    return sdpa(q_BLNK.narrow(1, s.query_begin, s.query_count),
                k_BMNK.narrow(1, s.key_begin, s.key_count),
                v_BMNV.narrow(1, s.value_begin, s.key_count),
                scale);
  };
  if (is_single_call(segments, L)) {
    SdpaOutput whole = part_of(segments[0]);
    return {whole.out_BLNV.contiguous(), whole.lse_BNL.contiguous()};
  }
  const auto options = q_BLNK.options().dtype(accumulate_type(q_BLNK));
  at::Tensor out_BLNV = at::zeros({B, L, N, v_BMNV.size(-1)}, options);
  // A row that no segment covers keeps a zero output and an LSE of -inf.
  at::Tensor lse_BNL = at::full({B, N, L}, -std::numeric_limits<double>::infinity(), options);
  for (size_t i = 0; i < segments.size(); ++i) {
    const AttentionSegment& s = segments[i];
    const SdpaOutput part = part_of(s);
    at::Tensor out_slice = out_BLNV.narrow(1, s.query_begin, s.query_count);
    at::Tensor lse_slice = lse_BNL.narrow(2, s.query_begin, s.query_count);
    if (shares_queries(segments, i)) {
      merge_part_(out_slice, lse_slice, part);
    } else {
      out_slice.copy_(part.out_BLNV);
      lse_slice.copy_(part.lse_BNL);
    }
  }
  return {out_BLNV.to(q_BLNK.scalar_type()), lse_BNL};
}

AttentionGrads merge_segments_backward(const at::Tensor& grad_out_BLNV,
                                       const at::Tensor& q_BLNK,
                                       const at::Tensor& k_BMNK,
                                       const at::Tensor& v_BMNV,
                                       const AttentionOutput& merged,
                                       const std::vector<AttentionSegment>& segments,
                                       double scale) {
  at::Tensor dq_BLNK = zero_accumulator(q_BLNK);
  at::Tensor dk_BMNK = zero_accumulator(k_BMNK);
  at::Tensor dv_BMNV = zero_accumulator(v_BMNV);
  for (const AttentionSegment& s : segments) {
    const auto queries = [&](const at::Tensor& t) {
      return t.narrow(1, s.query_begin, s.query_count);
    };
    const SdpaGrads share = sdpa_backward(queries(grad_out_BLNV),
                                          queries(q_BLNK),
                                          k_BMNK.narrow(1, s.key_begin, s.key_count),
                                          v_BMNV.narrow(1, s.value_begin, s.key_count),
                                          queries(merged.out_BLNV),
                                          merged.lse_BNL.narrow(2, s.query_begin, s.query_count),
                                          scale);
    queries(dq_BLNK).add_(share.q_BLNK);
    dk_BMNK.narrow(1, s.key_begin, s.key_count).add_(share.k_BMNK);
    dv_BMNV.narrow(1, s.value_begin, s.key_count).add_(share.v_BMNV);
  }
  return {dq_BLNK.to(q_BLNK.scalar_type()),
          dk_BMNK.to(k_BMNK.scalar_type()),
          dv_BMNV.to(v_BMNV.scalar_type())};
}

}  // namespace vmla::kernels
