#pragma once

#include <ATen/core/Tensor.h>

#include <string>

namespace vmla::model {

/// UserError, in one line, unless tensor `name` of the file `source` holds finite numbers that a
/// network can compute with as they are: fp32, bf16, fp16 or fp64. Numbers of 8 bits mean nothing
/// without scales, which every program keeps elsewhere. A NaN would show later, as a loss or a
/// picture, for which something else would be blamed. Reads every number where it lies: a mapped
/// file is not copied.
void check_weight_values(const std::string& name,
                         const at::Tensor& tensor,
                         const std::string& source);

}  // namespace vmla::model
