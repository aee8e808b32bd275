#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "model/io/safetensors_header.h"

namespace vmla::model {

/// LibTorch's type for a stored one.
at::ScalarType scalar_type_of(io::StoredType type);

/// The stored type of a tensor; TORCH_CHECK with `name` if the format has none for it.
io::StoredType stored_type_of(const std::string& name, at::ScalarType type);

/// The name of a type for messages: safetensors' ("BF16") where it has one, else LibTorch's.
std::string type_name(at::ScalarType type);

}  // namespace vmla::model
