#include "model/network/flops.h"

namespace vmla::model {

ForwardFlops forward_flops(const ModelConfig& config,
                           const AttentionPlan& plan,
                           int64_t tokens_per_frame) {
  const double tokens = static_cast<double>(tokens_per_frame);
  const double width = static_cast<double>(config.dim), text = static_cast<double>(config.text_len);
  const double sequence = static_cast<double>(plan.sequence_frames()) * tokens;
  const double keys = static_cast<double>(plan.key_times.size()) * tokens;
  double linear = 0, attention = 0, cross = 0;  // multiply-adds
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    const LayerDims d = layer_dims(config, layer);
    // The last layer has queries only where output is wanted.
    const int64_t first_query = layer + 1 == config.num_layers ? plan.output_begin : 0;
    const double queries = sequence - static_cast<double>(first_query) * tokens;
    const double pairs = static_cast<double>(attended_pairs(plan, first_query)) * tokens * tokens;
    const double heads = static_cast<double>(d.num_heads);
    if (config.is_mla()) {
      // Query down and up, latent and rope key down, expansion of keys and values (of the window's
      // rows too), output.
      const double qk = static_cast<double>(d.nope + d.rope), v = static_cast<double>(d.v_head);
      linear += queries * static_cast<double>(d.q_rank) * (width + heads * qk);
      linear += sequence * width * static_cast<double>(d.kv_rank + d.rope);
      linear += keys * static_cast<double>(d.kv_rank) * heads * (static_cast<double>(d.nope) + v);
      linear += queries * heads * v * width;
      attention += pairs * heads * (qk + v);
    } else {
      // Query and output of the queries, key and value of the whole sequence.
      linear += 2 * queries * width * width + 2 * sequence * width * width;
      attention += pairs * 2 * width;
    }
    // Query and output of the text attention, and the feed-forward network.
    linear += queries * (2 * width * width + 2 * width * static_cast<double>(d.ffn_dim));
    cross += 2 * text * width * width + queries * text * 2 * width;
  }
  // Patches in and out, time embedding with the six modulations of each frame, text embedding.
  const double outputs = sequence - static_cast<double>(plan.output_begin) * tokens;
  const double patch =
      static_cast<double>(config.patch_size[0] * config.patch_size[1] * config.patch_size[2]);
  linear += sequence * width * patch * static_cast<double>(config.in_dim);
  linear += outputs * width * patch * static_cast<double>(config.out_dim);
  linear += static_cast<double>(plan.sequence_frames()) * width *
            (static_cast<double>(config.freq_dim) + 7 * width);
  linear += text * width * (static_cast<double>(config.text_dim) + width);
  return {2 * linear, 2 * attention, 2 * cross};
}

}  // namespace vmla::model
