#pragma once

#include <iterator>
#include <set>
#include <tuple>

#include "model/config/model_config.h"
#include "model/network/attention_plan.h"

namespace vmla::model {

/// What a forward in latent attention executes beyond forward_flops, which counts the expansion of
/// each latent once. A token's keys and values are rebuilt by one product of its latent and its
/// rotary key, whose weights carry the rotary key over to every head by ones and zeros
/// (docs/algorithms.md 4.2); keys that some queries see at another time are rebuilt once more. 0
/// for dense attention.
inline double rebuilding_flops(const ModelConfig& config,
                               const AttentionPlan& plan,
                               int64_t tokens_per_frame) {
  if (!config.is_mla()) return 0;
  std::set<std::tuple<int64_t, int64_t, int64_t>> moved;
  for (const PlanRect& rect : plan.rects)
    if (rect.time_shift != 0) moved.emplace(rect.key_begin, rect.key_count, rect.time_shift);
  int64_t keys = std::ssize(plan.key_times), copies = 0;
  for (const auto& [begin, count, shift] : moved) copies += count;
  int64_t multiply_adds = 0;  // of a token of each frame
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    const LayerDims d = layer_dims(config, layer);
    const int64_t once = (d.kv_rank + d.rope) * (d.nope + d.rope + d.v_head);
    const int64_t counted = d.kv_rank * (d.nope + d.v_head);
    multiply_adds += d.num_heads * ((keys + copies) * once - keys * counted);
  }
  return 2 * static_cast<double>(multiply_adds * tokens_per_frame);
}

}  // namespace vmla::model
