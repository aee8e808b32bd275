#pragma once

#include "kernels/attention/attention.h"
#include "model/network/prepared_plan.h"
#include "model/network/sequence_group.h"
#include "model/weights/weights.h"

#include <ATen/core/Tensor.h>

namespace vmla::model {

/// What one layer keeps of a token for later chunks. Keys are stored before rotation and rotated
/// when they are read, because their position in the window changes. MLA: content = latent after
/// its norm [B, M, R], key = shared rope key [B, M, P]. Dense: content = values [B, M, N V], key =
/// keys after their norm [B, M, N K].
///
/// Ranks that share a sequence all hold the rows of all tokens, except where they exchange tokens
/// for heads (AttentionExchange::kHeads): there each holds its N/P heads of all tokens. A gradient
/// with respect to these rows is the rank's own part; the backward of the exchange that made them
/// adds the parts up.
struct LayerKv {
  at::Tensor content;
  at::Tensor key;
  /// Of latents that a cache keeps in eight bits (int8): what each token's are multiplied with,
  /// [B, M, 1]. Else undefined.
  at::Tensor scale = {};
};

/// Latent attention has two exact forms: rebuild per-head keys and values from the latent, or fold
/// the up-projections into query and output and attend to the latent itself (docs/algorithms.md
/// 4.2). kCheaper picks per layer, by cheaper_form().
enum class LatentForm { kExpanded, kAbsorbed, kCheaper };

/// The form with fewer multiply-adds for these numbers of query and key tokens, `rebuilt` of which
/// have to be expanded. Where those are not all, absorbing must save a fifth at least
/// (docs/algorithms.md 4.3).
LatentForm cheaper_form(const LayerDims& dims,
                        int64_t query_tokens,
                        int64_t key_tokens,
                        int64_t rebuilt);

/// What attention makes of a layer's weights. Undefined until a pass needs it; kept over passes by
/// PassCache, while the weights stay as they are.
struct DerivedWeights {
  /// The projections of x as one: of query, key and value, or of query, latent and rope key.
  at::Tensor down, down_bias;
  at::Tensor expansion;  // of latent attention: from latent and rope key to all keys and values
};

/// Keys and values of one layer over the passes of one chunk, which see the same window:
/// [B, window and own tokens, N (nope + P + V)] as latent attention rebuilds them, the window's by
/// the first pass, the sequence's own by each.
struct KeptWindow {
  at::Tensor expanded_BMQ;
};

/// What a layer's passes without gradients find of earlier ones, and leave to later ones. Null:
/// made for this pass.
struct KeptOfLayer {
  DerivedWeights* derived = nullptr;
  bool exact = false;  // PassCache::exact
  KeptWindow* window = nullptr;
  at::Tensor* modulation_BF6D = nullptr;  // e0 + the block's own
};

struct SelfAttentionArgs {
  const LayerDims& dims;
  const PreparedPlan& plan;
  int64_t layer;
  double eps;
  double latent_norm_eps;
  bool only_output;  // queries are the frames from the plan's output_begin on; keys are all frames
  bool kv_only;      // no queries at all: only the sequence's keys and values are wanted
  LayerKv window;    // undefined tensors where the plan has no window
  LatentForm form = LatentForm::kExpanded;
  /// The ranks that share the sequence, of which x is this rank's tokens; null: x is the whole
  /// sequence. With ranks, `plan` is slice_queries(), or the whole plan with exchange_heads.
  SequenceGroup* sequence = nullptr;
  bool exchange_heads = false;
  kernels::KeptAttention* kept_attention = nullptr;  // as of segmented_attention()
  KeptOfLayer kept = {};
};

struct SelfAttentionOut {
  at::Tensor out_BLD;  // undefined with kv_only
  LayerKv kv;          // of the sequence's tokens, without the window's
};

/// Whether projections of x to `width` numbers, by weights like `weight`, are one product, for
/// which the weights are kept a second time. It saves starts of kernels, which is nothing where a
/// product takes long: up to 16 MiB a layer. A library sums a wider product in another order on
/// some processors.
bool joins_projections(const SelfAttentionArgs& args, int64_t width, const at::Tensor& weight);

/// Self-attention of x [B, L, D], which is normalised and modulated, to the sequence and the window
/// before it, with its output projection.
SelfAttentionOut dense_attention(const DenseAttentionWeights& w,
                                 const at::Tensor& x_BLD,
                                 const SelfAttentionArgs& args);
SelfAttentionOut mla_attention(const MlaAttentionWeights& w,
                               const at::Tensor& x_BLD,
                               const SelfAttentionArgs& args);

/// Keys and values of the prompt for one layer, [B, T, N, K]. They depend on the prompt alone, so a
/// rollout computes them once.
struct CrossKv {
  at::Tensor k, v;
};
CrossKv cross_attention_kv(const DenseAttentionWeights& w,
                           const at::Tensor& context_BTD,
                           int64_t num_heads,
                           double eps);
/// Attention of x [B, L, D] to all text rows, padding included (docs/algorithms.md 2.5).
at::Tensor cross_attention(const DenseAttentionWeights& w,
                           const at::Tensor& x_BLD,
                           const CrossKv& kv,
                           int64_t num_heads,
                           double eps,
                           kernels::KeptAttention* kept = nullptr);

}  // namespace vmla::model
