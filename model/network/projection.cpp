#include "model/network/projection.h"

#include <ATen/ATen.h>

namespace vmla::model {

at::Tensor project(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const auto dtype = weight.scalar_type();
  return at::linear(
      x.to(dtype), weight, bias.defined() ? std::optional(bias.to(dtype)) : std::nullopt);
}

}  // namespace vmla::model
