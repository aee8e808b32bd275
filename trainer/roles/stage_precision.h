#pragma once

#include "model/formats/safetensors.h"
#include "trainer/config/train_config.h"

#include <ATen/core/Tensor.h>

namespace vmla::trainer {

/// The dtype of the stage's matrix products and attention (train.precision).
at::ScalarType compute_dtype(const TrainConfig& config);

/// The dtype of latents, noise and times as networks get them, and of masters: fp64 in fp64 runs,
/// where everything derived from them (rotary tables) is to be as exact; else fp32.
at::ScalarType input_dtype(const TrainConfig& config);

/// Moves the inputs of an evaluation to the stage's device, and to the input dtype where they are
/// floating point.
void place_inputs(const TrainConfig& config, model::TensorMap& inputs);

}  // namespace vmla::trainer
