#pragma once

#include "model/network/prepared_plan.h"
#include "model/network/sequence_group.h"
#include "model/weights/weights.h"

#include <ATen/core/Tensor.h>

namespace vmla::model {

/// What one layer keeps of a token for later chunks. Keys are unrotated: they are rotated at use.
/// MLA: content = latent after its norm [B, M, R], key = shared rope key [B, M, P].
/// Dense: content = values [B, M, N V], key = keys after their norm [B, M, N K].
///
/// Ranks that share a sequence hold the same: all tokens'. Only where they exchange dense tokens
/// for heads (AttentionExchange::kHeads) each holds its own heads of all tokens, N/P of them. A
/// gradient with respect to it is each rank's own part: backward of the exchange that made it adds
/// them up.
struct LayerKv {
  at::Tensor content;
  at::Tensor key;
};

/// Latent attention has two exact forms: rebuild per-head keys and values from the latent, or fold
/// the up-projections into query and output and attend to the latent itself (docs/algorithms.md
/// 4.2). kCheaper picks per layer, by cheaper_form().
enum class LatentForm { kExpanded, kAbsorbed, kCheaper };

/// The form with fewer multiply-adds for that many query and key tokens (docs/algorithms.md 4.3).
LatentForm cheaper_form(const LayerDims& dims, int64_t query_tokens, int64_t key_tokens);

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
  /// Ranks of which x is one's tokens; null: x is the whole sequence. `plan` is then that of
  /// slice_queries, or the whole one with AttentionExchange::kHeads.
  SequenceGroup* sequence = nullptr;
  bool exchange_heads = false;
};

struct SelfAttentionOut {
  at::Tensor out_BLD;  // undefined with kv_only
  LayerKv kv;          // of the sequence's tokens, without the window's
};

/// x: [B, L, D], normalised and modulated. Queries, keys and values of the sequence, plus the
/// window's keys.
SelfAttentionOut dense_attention(const DenseAttentionWeights& w,
                                 const at::Tensor& x_BLD,
                                 const SelfAttentionArgs& args);
SelfAttentionOut mla_attention(const MlaAttentionWeights& w,
                               const at::Tensor& x_BLD,
                               const SelfAttentionArgs& args);

/// Keys and values of the prompt for one layer: [B, T, N, K]. The same for every chunk of a video.
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
                           double eps);

}  // namespace vmla::model
