#pragma once

#include <ATen/core/Tensor.h>

namespace vmla::model {

/// x W^T + b in the weight's dtype, which x and b are cast to, and in which the result stays.
/// `bias` may be undefined.
at::Tensor project(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias = {});

}  // namespace vmla::model
