#pragma once

#include "model/config/model_config.h"
#include "model/formats/safetensors.h"

#include <ATen/core/Tensor.h>

#include <string>

namespace vmla::launch {

/// The tensors of `vmla step` (docs/formats.md "Tensors of forward and step"), copied from `path`:
/// floating-point ones as `dtype`, timesteps as fp64. The shapes of the known ones are checked
/// against the model and against each other. UserError names the file, the tensor, what was found
/// and what would be right.
model::TensorMap read_step_inputs(const std::string& path,
                                  at::ScalarType dtype,
                                  const model::ModelConfig& config);

}  // namespace vmla::launch
