#include "kernels/gelu/gelu.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels/cuda_dispatch.h"
#include "kernels/dispatch.h"
#include "kernels/gelu/gelu_cpu.h"

namespace vmla::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

template <class T>
at::Tensor forward_cpu(const at::Tensor& x_any) {
  const at::Tensor x = x_any.contiguous();
  at::Tensor y = at::empty(x.sizes(), x.options());
  gelu_tanh_cpu(x.const_data_ptr<T>(), y.mutable_data_ptr<T>(), x.numel());
  return y;
}

at::Tensor forward_cuda(const at::Tensor& x_any) {
  const at::Tensor x = x_any.contiguous();
  at::Tensor y = at::empty(x.sizes(), x.options());
  cuda_kernels()->gelu_tanh({.element = cuda_element(x),
                             .x = x.const_data_ptr(),
                             .y = y.mutable_data_ptr(),
                             .count = x.numel()},
                            x.get_device());
  return y;
}

at::Tensor forward_any(const at::Tensor& x) {
  if (wants_sizes_only(x)) return at::empty(x.sizes(), x.options());
  if (takes_cuda_kernels(x)) return forward_cuda(x);
  if (!takes_cpu_loops(x)) return at::gelu(x, "tanh");
  return x.scalar_type() == at::kFloat ? forward_cpu<float>(x) : forward_cpu<double>(x);
}

template <class T>
at::Tensor backward_cpu(const at::Tensor& grad_any, const at::Tensor& x_any) {
  const at::Tensor grad = grad_any.contiguous();
  const at::Tensor x = x_any.contiguous();
  at::Tensor dx = at::empty(x.sizes(), x.options());
  gelu_tanh_backward_cpu(
      grad.const_data_ptr<T>(), x.const_data_ptr<T>(), dx.mutable_data_ptr<T>(), x.numel());
  return dx;
}

at::Tensor backward_cuda(const at::Tensor& grad_any, const at::Tensor& x_any) {
  const at::Tensor grad = grad_any.contiguous();
  const at::Tensor x = x_any.contiguous();
  at::Tensor dx = at::empty(x.sizes(), x.options());
  cuda_kernels()->gelu_tanh_backward({.element = cuda_element(x),
                                      .grad_y = grad.const_data_ptr(),
                                      .x = x.const_data_ptr(),
                                      .grad_x = dx.mutable_data_ptr(),
                                      .count = x.numel()},
                                     x.get_device());
  return dx;
}

at::Tensor backward_any(const at::Tensor& grad, const at::Tensor& x) {
  if (wants_sizes_only(x)) return at::empty(x.sizes(), x.options());
  if (takes_cuda_kernels(x, grad)) return backward_cuda(grad, x);
  if (!takes_cpu_loops(x, grad)) return at::gelu_backward(grad, x, "tanh");
  return x.scalar_type() == at::kFloat ? backward_cpu<float>(grad, x)
                                       : backward_cpu<double>(grad, x);
}

struct GeluTanh : torch::autograd::Function<GeluTanh> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x) {
    ctx->save_for_backward({x});
    return forward_any(x);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    return {backward_any(grads[0], ctx->get_saved_variables()[0])};
  }
};

}  // namespace

at::Tensor gelu_tanh(const at::Tensor& x) {
  if (wants_gradient(x)) return GeluTanh::apply(x);
  return forward_any(x);
}

}  // namespace vmla::kernels
