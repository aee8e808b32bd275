#include "model/formats/written_form.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace vmla::model {

WrittenForm::WrittenForm(const TensorMap& tensors, std::optional<at::ScalarType> dtype)
    : dtype_(dtype) {
  int64_t most = 0;
  for (const auto& [name, tensor] : tensors) {
    if (type(tensor) != tensor.scalar_type()) most = std::max(most, tensor.numel());
  }
  if (most > 0) buffer_ = at::empty({most}, *dtype);
}

at::ScalarType WrittenForm::type(const at::Tensor& tensor) const {
  return dtype_ && tensor.is_floating_point() ? *dtype_ : tensor.scalar_type();
}

at::Tensor WrittenForm::of(const at::Tensor& tensor) const {
  const at::Tensor plain = tensor.detach().resolve_conj().resolve_neg();
  if (type(tensor) == tensor.scalar_type()) return plain.to(at::kCPU).contiguous();
  TORCH_CHECK(buffer_.defined() && tensor.numel() <= buffer_.numel(),
              "a tensor that the buffer was not made for");
  return buffer_.narrow(0, 0, tensor.numel()).view(tensor.sizes()).copy_(plain);
}

}  // namespace vmla::model
