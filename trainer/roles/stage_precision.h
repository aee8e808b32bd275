#pragma once

#include "model/formats/safetensors.h"
#include "trainer/config/train_config.h"

#include <ATen/core/Tensor.h>

namespace vmla::trainer {

/// The dtype of the stage's matrix products and attention (train.precision;
/// docs/algorithms.md 2.9).
at::ScalarType compute_dtype(const TrainConfig& config);

/// The dtype of latents, noise and times as networks get them, of masters and of gradients: fp32,
/// with bf16 products too; fp64 in fp64 runs, where what is derived from them (rotary tables,
/// losses) shall be as exact.
at::ScalarType input_dtype(const TrainConfig& config);

/// Moves the inputs of an evaluation to the stage's device, but for those that stay on the host
/// (stays_on_host()), without waiting for it, and converts those that are floating point to the
/// input dtype; indices stay integers.
void place_inputs(const TrainConfig& config, model::TensorMap& inputs);

}  // namespace vmla::trainer
