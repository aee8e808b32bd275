#include "trainer/planner/sizes_only.h"

#include <ATen/ATen.h>
#include <ATen/ExpandUtils.h>
#include <torch/library.h>

namespace vmla::trainer {
namespace {

// Each function below makes the outputs of one operator: their number, sizes and dtypes, which is
// all that a plan looks at. Values do not exist.

at::Scalar no_number(const at::Tensor&) {
  return 0;
}

/// A copy between tensors without data does nothing. Copied into a tensor that has data, such as
/// one that the host is to read, a tensor without data gives zeros.
at::Tensor& copy_sizes(at::Tensor& self, const at::Tensor& /*source*/, bool /*non_blocking*/) {
  return self.is_meta() ? self : self.zero_();
}

at::Tensor& abs_sizes(const at::Tensor& x, at::Tensor& out) {
  out.resize_(x.sizes());
  return out;
}

/// All three are broadcast against each other.
at::Tensor where_sizes(const at::Tensor& condition, const at::Tensor& a, const at::Tensor& b) {
  const auto sizes = at::infer_size(condition.sizes(), at::infer_size(a.sizes(), b.sizes()));
  return at::empty(sizes, a.options());
}

at::Tensor index_select_sizes(const at::Tensor& x, int64_t dim, const at::Tensor& index) {
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes[static_cast<size_t>(dim < 0 ? dim + x.dim() : dim)] = index.numel();
  return at::empty(sizes, x.options());
}

}  // namespace

void allow_sizes_only_steps() {
  // The library lives as long as the process: its destructor would take the operators back.
  static const torch::Library operators = [] {
    torch::Library library(
        torch::Library::IMPL, "aten", c10::DispatchKey::Meta, __FILE__, __LINE__);
    library.impl("_local_scalar_dense", &no_number);
    library.impl("copy_", &copy_sizes);
    library.impl("abs.out", &abs_sizes);
    library.impl("where.self", &where_sizes);
    library.impl("index_select", &index_select_sizes);
    return library;
  }();
}

}  // namespace vmla::trainer
