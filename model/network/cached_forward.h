#pragma once

#include <ATen/core/Tensor.h>

#include "model/network/wan_dit.h"

namespace vmla::model {

/// The flow of noisy latents [B, F, C, H, W], computed chunk by chunk, each against a streaming
/// cache that holds the clean chunks before it at t = 0. Teacher forcing computes the same in one
/// masked forward (docs/algorithms.md 3.4). No gradients.
at::Tensor cached_forward(const Network& network,
                          const at::Tensor& clean_BFCHW,
                          const DitInputs& noisy);

}  // namespace vmla::model
