#include "kernels/gelu/gelu.h"

#include <ATen/ATen.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels/dispatch.h"
#include "kernels/fused_dispatch.h"
#include "kernels/gelu/gelu_cpu.h"
#include "kernels/kernel_record.h"

namespace vmla::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Tensor forward_fused(const at::Tensor& x_any) {
  const at::Tensor x = x_any.contiguous();
  at::Tensor y = at::empty(x.sizes(), x.options());
  run_fused(x,
            gelu_tanh_cpu,
            &cuda::KernelTable::gelu_tanh,
            {.element = element_of(x),
             .x = x.const_data_ptr(),
             .y = y.mutable_data_ptr(),
             .count = x.numel()});
  return y;
}

at::Tensor forward_any(const at::Tensor& x) {
  RECORD_FUNCTION(kKernelRecord, reading({x}));
  if (wants_sizes_only(x)) return at::empty(x.sizes(), x.options());
  return takes_fused(FusedOp::kGeluTanh, {x}) ? forward_fused(x) : at::gelu(x, "tanh");
}

at::Tensor backward_fused(const at::Tensor& grad_any, const at::Tensor& x_any) {
  const at::Tensor grad = grad_any.contiguous();
  const at::Tensor x = x_any.contiguous();
  at::Tensor dx = at::empty(x.sizes(), x.options());
  run_fused(x,
            gelu_tanh_backward_cpu,
            &cuda::KernelTable::gelu_tanh_backward,
            {.element = element_of(x),
             .grad_y = grad.const_data_ptr(),
             .x = x.const_data_ptr(),
             .grad_x = dx.mutable_data_ptr(),
             .count = x.numel()});
  return dx;
}

at::Tensor backward_any(const at::Tensor& grad, const at::Tensor& x) {
  RECORD_FUNCTION(kKernelRecord, reading({grad, x}));
  if (wants_sizes_only(x)) return at::empty(x.sizes(), x.options());
  return takes_fused(FusedOp::kGeluTanh, {x, grad}) ? backward_fused(grad, x)
                                                    : at::gelu_backward(grad, x, "tanh");
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
