#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "kernels/attention/attention_segment.h"

namespace vmla::kernels {

/// Attention of the queries over all their keys, and the log-sum-exp of each query's scores.
struct AttentionOutput {
  at::Tensor out_BLNV;  // [B, L, N, V]
  at::Tensor lse_BNL;   // [B, N, L], natural log, fp32 (fp64 for fp64). Not differentiable.
};

/// The name by which LibTorch's observers and profilers see each attention call, forward and
/// backward; its one argument is the call's multiply-adds (float). A backward counts as two
/// forwards.
inline constexpr char kAttentionRecord[] = "vmla::attention";

/// Results of attention calls that a forward keeps until it runs again: then the calls, made in the
/// same order, are given them and attend to nothing.
class KeptAttention {
 public:
  bool runs_again() const { return runs_again_; }
  void run_again() { runs_again_ = true; }
  void keep(AttentionOutput output) { outputs_.push_back(std::move(output)); }
  /// The next one, which is kept no longer.
  AttentionOutput take();

  /// Its tensors, out and LSE of each call in turn, which are elsewhere until they are given back.
  std::vector<at::Tensor> hand_over();
  void give_back(const std::vector<at::Tensor>& tensors);

 private:
  std::vector<AttentionOutput> outputs_;
  size_t taken_ = 0;
  bool runs_again_ = false;
};

/// Softmax attention over the union of `segments`, which must not overlap in (query, key). Each
/// segment is a plain attention call; their results are merged by log-sum-exp. One autograd
/// Function records all of it: its backward runs each segment's backward with the merged output and
/// LSE, which is exact (docs/algorithms.md 3.7). No mask is ever built.
///
/// q: [B, L, N, K]; k: [B, Mk, N, K]; v: [B, Mv, N, V], of any strides but a dense last dim. V may
/// differ from K: where a library kernel wants equal sizes, inputs are padded inside. Segments with
/// query_count or key_count 0 are skipped; a query row that no segment covers gets zeros and an LSE
/// of -inf. Differentiable in q, k and v. With `kept` the result is kept, or was.
AttentionOutput segmented_attention(const at::Tensor& q_BLNK,
                                    const at::Tensor& k_BMNK,
                                    const at::Tensor& v_BMNV,
                                    const std::vector<AttentionSegment>& segments,
                                    double scale,
                                    KeptAttention* kept = nullptr);

/// The definition: a dense additive mask, softmax in fp32 (fp64 for fp64), plain matrix products.
AttentionOutput segmented_attention_reference(const at::Tensor& q_BLNK,
                                              const at::Tensor& k_BMNK,
                                              const at::Tensor& v_BMNV,
                                              const std::vector<AttentionSegment>& segments,
                                              double scale);

}  // namespace vmla::kernels
