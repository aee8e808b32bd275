#pragma once

#include "model/config/model_config.h"
#include "trainer/config/train_config.h"
#include "trainer/objectives/objective.h"

#include <cstdint>

namespace vmla::trainer {

/// How many videos fit into `bytes` of one device when they are sampled side by side, chunk by
/// chunk in few steps without guidance, with full windows: weights in the compute dtype, caches of
/// self- and cross-attention, and the activations of a chunk's pass. 0: not even one. `model`
/// stands for config.model; a prompt has `text_rows` rows. Samples on the meta device.
int64_t largest_stream_batch(const TrainConfig& config,
                             const model::ModelConfig& model,
                             const ClipShape& clip,
                             int64_t text_rows,
                             double bytes);

}  // namespace vmla::trainer
