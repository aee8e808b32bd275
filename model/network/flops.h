#pragma once

#include "model/config/model_config.h"
#include "model/network/attention_plan.h"

namespace vmla::model {

/// Floating-point operations of one forward of one sample under `plan`, expanded attention (1
/// multiply-add = 2 operations): matrix products and attention; nothing else counts
/// (docs/algorithms.md 15.1). Training counts three times the forward. `tokens_per_frame`: S.
struct ForwardFlops {
  double linear = 0;     // projections, feed-forward, embeddings, head
  double attention = 0;  // self-attention scores and values
  double cross = 0;      // cross-attention scores and values, text keys and values
  double total() const { return linear + attention + cross; }
};
ForwardFlops forward_flops(const ModelConfig& config,
                           const AttentionPlan& plan,
                           int64_t tokens_per_frame);

}  // namespace vmla::model
