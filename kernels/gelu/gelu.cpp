#include "kernels/gelu/gelu.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels/dispatch.h"

namespace vmla::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct GeluTanh : torch::autograd::Function<GeluTanh> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x) {
    ctx->save_for_backward({x});
    return at::gelu(x, "tanh");
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    return {at::gelu_backward(grads[0], ctx->get_saved_variables()[0], "tanh")};
  }
};

}  // namespace

at::Tensor gelu_tanh(const at::Tensor& x) {
  if (wants_gradient(x)) return GeluTanh::apply(x);
  return at::gelu(x, "tanh");
}

}  // namespace vmla::kernels
