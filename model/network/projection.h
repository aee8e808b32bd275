#pragma once

#include <ATen/core/Tensor.h>

namespace vmla::model {

/// x W^T + b in the weight's dtype (bf16 matrix products when weights are bf16); the result keeps
/// that dtype. `bias` may be undefined.
at::Tensor project(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias = {});

}  // namespace vmla::model
