#pragma once

#include "model/config/model_config.h"

namespace vmla::model {

/// How the ranks of a sequence group get at each other's keys.
enum class AttentionExchange {
  kGather,  // keys of all tokens come to the own queries: latents, or keys and values of all heads
  kHeads,   // all tokens come to the own heads, and go back: dense, where the heads divide
};
AttentionExchange attention_exchange(const ModelConfig& config, int64_t ranks);

/// ConfigRuleError (distributed.sequence_parallel_size) unless `ranks` ranks can share the tokens
/// of each frame of that latent grid equally. Heads need not divide.
void check_sequence_slices(const ModelConfig& config,
                           int64_t latent_height,
                           int64_t latent_width,
                           int64_t ranks);

}  // namespace vmla::model
