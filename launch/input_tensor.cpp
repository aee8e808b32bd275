#include "launch/input_tensor.h"

#include "model/io/error.h"

#include <ATen/ATen.h>

namespace vmla::launch {

at::Tensor input_tensor(const model::SafetensorsFile& file,
                        const std::string& path,
                        const std::string& name,
                        int64_t dims) {
  const auto found = file.tensors.find(name);
  if (found == file.tensors.end()) fail_user("{}: tensor '{}' is missing", path, name);
  const at::Tensor& tensor = found->second;
  if (tensor.scalar_type() != at::kFloat || tensor.dim() != dims) {
    fail_user("{}: tensor '{}' must be F32 with {} dimensions, found {} with {}",
              path,
              name,
              dims,
              at::toString(tensor.scalar_type()),
              tensor.dim());
  }
  expect_finite(path, name, tensor);
  return tensor;
}

void expect_finite(const std::string& path, const std::string& name, const at::Tensor& tensor) {
  if (!tensor.isfinite().all().item<bool>())
    fail_user("{}: tensor '{}' holds NaN or infinity", path, name);
}

}  // namespace vmla::launch
