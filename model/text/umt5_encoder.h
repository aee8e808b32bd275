#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "model/text/umt5_weights.h"

namespace vmla::model {

/// How an encoder computes. Norms, softmax and what is passed from layer to layer are fp32 always.
struct Umt5Precision {
  c10::ScalarType matrices = c10::ScalarType::Float;  // of matrix products: Float, BFloat16, Double
};

/// Moves the weights to `device`, there in the type of the matrix products. On the CPU they stay
/// where they are mapped; each matrix is converted when it is used, if its type is another.
Umt5Weights umt5_on(Umt5Weights weights, c10::Device device, const Umt5Precision& precision);

/// UMT5's encoder (docs/algorithms.md 18.1) on several prompts, each a list of ids below V: for
/// each its embedding [T, D], fp32 on the CPU. Prompts are laid end to end and not padded, so one's
/// embedding depends on the others by no more than the rounding of larger products. `progress`, if
/// given, is called after each layer with the number of layers done.
std::vector<at::Tensor> umt5_encode(const Umt5Weights& weights,
                                    const std::vector<std::vector<int64_t>>& prompts,
                                    const Umt5Precision& precision,
                                    const std::function<void(int64_t)>& progress = {});

}  // namespace vmla::model
