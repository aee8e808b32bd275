#include <ATen/ATen.h>

#include <limits>

#include "kernels/attention/attention.h"
#include "kernels/dispatch.h"

namespace vmla::kernels {

// Keys and values may be addressed apart, so the columns of the dense score matrix are the keys of
// the segments one after another, not the rows of k.
AttentionOutput segmented_attention_reference(const at::Tensor& q_BLNK,
                                              const at::Tensor& k_BMNK,
                                              const at::Tensor& v_BMNV,
                                              const std::vector<AttentionSegment>& segments,
                                              double scale) {
  const at::ScalarType acc = accumulate_type(q_BLNK);
  const double minus_inf = -std::numeric_limits<double>::infinity();
  const int64_t L = q_BLNK.size(1);
  // A key that nobody sees comes first, so that the tables are never empty.
  std::vector<at::Tensor> keys{
      at::zeros({k_BMNK.size(0), 1, k_BMNK.size(2), k_BMNK.size(3)}, k_BMNK.options())};
  std::vector<at::Tensor> values{
      at::zeros({v_BMNV.size(0), 1, v_BMNV.size(2), v_BMNV.size(3)}, v_BMNV.options())};
  std::vector<at::Tensor> masks{at::full({L, 1}, minus_inf, q_BLNK.options().dtype(acc))};
  for (const AttentionSegment& s : segments) {
    if (s.query_count == 0 || s.key_count == 0) continue;
    keys.push_back(k_BMNK.narrow(1, s.key_begin, s.key_count));
    values.push_back(v_BMNV.narrow(1, s.value_begin, s.key_count));
    at::Tensor mask_LM = at::full({L, s.key_count}, minus_inf, q_BLNK.options().dtype(acc));
    mask_LM.narrow(0, s.query_begin, s.query_count).zero_();
    masks.push_back(mask_LM);
  }
  const at::Tensor q_BNLK = q_BLNK.to(acc).transpose(1, 2);
  const at::Tensor k_BNKM = at::cat(keys, 1).to(acc).permute({0, 2, 3, 1});
  const at::Tensor v_BNMV = at::cat(values, 1).to(acc).transpose(1, 2);
  const at::Tensor scores_BNLM = at::matmul(q_BNLK, k_BNKM) * scale + at::cat(masks, 1);
  // A row without keys has a sum of 0 and an LSE of -inf; dividing by 1 instead keeps its weights
  // and gradients 0.
  const at::Tensor largest = scores_BNLM.detach().amax(-1, /*keepdim=*/true);
  const at::Tensor shift = largest.masked_fill(at::isneginf(largest), 0.0);
  const at::Tensor exponentials = at::exp(scores_BNLM - shift);
  const at::Tensor sum = exponentials.sum(-1, /*keepdim=*/true);
  const at::Tensor lse_BNL = (sum.log() + shift).squeeze(-1);
  const at::Tensor weights_BNLM = exponentials / sum.masked_fill(sum == 0, 1.0);
  const at::Tensor out_BNLV = at::matmul(weights_BNLM, v_BNMV);
  return {out_BNLV.transpose(1, 2).contiguous().to(q_BLNK.scalar_type()), lse_BNL.detach()};
}

}  // namespace vmla::kernels
