#include "kernels/kernel_record.h"

#include <ATen/core/ivalue.h>

namespace vmla::kernels {

std::vector<c10::IValue> reading(at::TensorList tensors, int64_t kernels) {
  std::vector<c10::IValue> arguments{kernels};
  arguments.insert(arguments.end(), tensors.begin(), tensors.end());
  return arguments;
}

}  // namespace vmla::kernels
