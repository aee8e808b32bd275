#pragma once

#include "model/network/self_attention.h"
#include "model/weights/weights.h"

namespace vmla::model {

/// What every block gets besides the tokens.
struct BlockInputs {
  at::Tensor modulation_BF6D;         // projected time embedding e0 of each frame, fp32
  at::Tensor context_BTD;             // embedded text; unused when cross_kv is given
  const CrossKv* cross_kv = nullptr;  // the prompt's keys and values, kept over a video
  LayerKv window;
};

struct BlockOut {
  at::Tensor
      x_BFSD;  // fp32; frames from output_begin on when only_output; undefined when there are none
  LayerKv kv;  // of the sequence's tokens, for a cache: appending happens outside
};

struct BlockSettings {
  const ModelConfig& config;
  const PreparedPlan& plan;
  int64_t layer;
  bool
      only_output;  // the last layer: frames before output_begin are needed as keys and values only
  bool kv_only;     // a cache fill's last layer: no frame is needed beyond its keys and values
  LatentForm form = LatentForm::kExpanded;
  SequenceGroup* sequence = nullptr;  // x is one rank's tokens of each frame
  bool exchange_heads = false;        // as in SelfAttentionArgs
};

/// One transformer block (docs/algorithms.md 2.6): modulated self-attention, text cross-attention,
/// modulated feed-forward, all residual. x: [B, F, S, D] fp32, S/P of the tokens with a sequence
/// group. The residual stream, norms and modulation stay in fp32.
BlockOut dit_block(const DitBlockWeights& w,
                   const at::Tensor& x_BFSD,
                   const BlockInputs& in,
                   const BlockSettings& settings);

}  // namespace vmla::model
