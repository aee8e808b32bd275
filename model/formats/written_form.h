#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

#include "model/formats/safetensors.h"

namespace vmla::model {

/// Tensors as a file is to hold them, one after another. All that are converted go through the same
/// memory, of the largest: allocated one by one, between what is kept of each, they would leave the
/// heap full of holes, as large as the model.
class WrittenForm {
 public:
  /// `dtype`, if given, is that of every floating tensor; the others stay as they are. Of `tensors`
  /// the sizes are looked at.
  WrittenForm(const TensorMap& tensors, std::optional<at::ScalarType> dtype);

  at::ScalarType type(const at::Tensor& tensor) const;
  /// `tensor` on the CPU, row by row, in that type. Holds until the next call.
  at::Tensor of(const at::Tensor& tensor) const;

 private:
  std::optional<at::ScalarType> dtype_;
  at::Tensor buffer_;  // undefined where nothing is converted
};

}  // namespace vmla::model
