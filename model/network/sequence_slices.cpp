#include "model/network/sequence_slices.h"

#include "model/config/config_rule.h"

#include <algorithm>

namespace vmla::model {

AttentionExchange attention_exchange(const ModelConfig& config, int64_t ranks) {
  return !config.is_mla() && config.num_heads % ranks == 0 ? AttentionExchange::kHeads
                                                           : AttentionExchange::kGather;
}

void check_sequence_slices(const ModelConfig& config,
                           int64_t latent_height,
                           int64_t latent_width,
                           int64_t ranks) {
  constexpr const char* kKey = "distributed.sequence_parallel_size";
  if (ranks < 1) fail_rule(kKey, "{} is no number of ranks; use at least 1", ranks);
  const int64_t rows = latent_height / config.patch_size[1];
  const int64_t cols = latent_width / config.patch_size[2];
  const int64_t tokens = rows * cols;
  if (tokens % ranks == 0) return;
  int64_t below = std::min(ranks, tokens), above = ranks;
  while (tokens % below != 0) --below;
  while (above < tokens && tokens % above != 0) ++above;
  fail_rule(
      kKey,
      "{} ranks cannot share the {}x{} = {} tokens of a latent frame (latents {}x{}) equally: {}",
      ranks,
      rows,
      cols,
      tokens,
      latent_height,
      latent_width,
      above <= tokens ? formatted("{} or {} ranks can", below, above)
                      : formatted("{} ranks can", below));
}

}  // namespace vmla::model
