#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "model/formats/safetensors.h"

namespace vmla::launch {

/// The tensor `name` of the file `path`: F32 with `dims` dimensions, finite. UserError otherwise.
at::Tensor input_tensor(const model::SafetensorsFile& file,
                        const std::string& path,
                        const std::string& name,
                        int64_t dims);

/// UserError where the tensor `name` of the file `path` holds NaN or infinity.
void expect_finite(const std::string& path, const std::string& name, const at::Tensor& tensor);

}  // namespace vmla::launch
