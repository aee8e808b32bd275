#pragma once

#include "model/network/self_attention.h"
#include "model/weights/weights.h"

namespace vmla::model {

/// What a block reads besides the tokens.
struct BlockInputs {
  at::Tensor modulation_BF6D;         // projected time embedding e0 of each frame, fp32
  at::Tensor context_BTD;             // embedded text; unused when cross_kv is given
  const CrossKv* cross_kv = nullptr;  // the prompt's keys and values, kept over a video
  LayerKv window;
};

struct BlockOut {
  /// fp32. With only_output, the frames from the plan's output_begin on; undefined with kv_only.
  at::Tensor x_BFSD;
  LayerKv kv;  // of the sequence's tokens; the caller appends them to a cache
};

struct BlockSettings {
  const ModelConfig& config;
  const PreparedPlan& plan;
  int64_t layer;
  bool only_output;  // last layer: frames before output_begin are needed as keys and values only
  bool kv_only;      // last layer of a context pass: nothing but keys and values is needed
  LatentForm form = LatentForm::kExpanded;
  SequenceGroup* sequence = nullptr;                 // x is one rank's tokens of each frame
  bool exchange_heads = false;                       // as in SelfAttentionArgs
  kernels::KeptAttention* kept_attention = nullptr;  // as in SelfAttentionArgs
  KeptOfLayer kept = {};                             // likewise
};

/// One transformer block (docs/algorithms.md 2.6): modulated self-attention, text cross-attention,
/// modulated feed-forward, all residual. x: [B, F, S, D] fp32; with a sequence group of P
/// ranks x holds this rank's S/P tokens of each frame. The residual stream, norms and modulation
/// stay in fp32.
BlockOut dit_block(const DitBlockWeights& w,
                   const at::Tensor& x_BFSD,
                   const BlockInputs& in,
                   const BlockSettings& settings);

}  // namespace vmla::model
