#pragma once

#include "model/config/model_config.h"

namespace vmla::model {

/// How the ranks of a sequence group reach the keys and values of other ranks' tokens.
enum class AttentionExchange {
  kGather,  // every rank gathers latents, or keys and values, of all tokens for its own queries
  kHeads,   // ranks exchange their tokens for heads and back: dense, where P divides the heads
};
AttentionExchange attention_exchange(const ModelConfig& config, int64_t ranks);

/// ConfigRuleError (distributed.sequence_parallel_size) unless `ranks` ranks can share the tokens
/// of each frame of that latent grid equally. Heads need not divide.
void check_sequence_slices(const ModelConfig& config,
                           int64_t latent_height,
                           int64_t latent_width,
                           int64_t ranks);

}  // namespace vmla::model
