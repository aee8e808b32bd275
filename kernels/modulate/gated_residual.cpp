#include <ATen/ATen.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels/dispatch.h"
#include "kernels/fused_dispatch.h"
#include "kernels/kernel_record.h"
#include "kernels/modulate/modulate.h"
#include "kernels/modulate/modulate_cpu.h"
#include "kernels/modulate/passes.h"
#include "kernels/modulate/token_sums_scratch.h"

namespace vmla::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Tensor forward_aten(const at::Tensor& x_BFSD,
                        const at::Tensor& y_BFSD,
                        const at::Tensor& gate_BFD) {
  const at::ScalarType acc = accumulate_type(x_BFSD);
  return at::addcmul(x_BFSD.to(acc), y_BFSD.to(acc), gate_BFD.to(acc).unsqueeze(2))
      .to(x_BFSD.scalar_type());
}

at::Tensor forward_fused(const at::Tensor& x_BFSD,
                         const at::Tensor& y_BFSD,
                         const at::Tensor& gate_BFD) {
  const at::Tensor x = dense_frames(x_BFSD);
  const at::Tensor y = dense_frames(y_BFSD);
  const at::Tensor gate = dense_rows(gate_BFD);
  at::Tensor out = at::empty(x_BFSD.sizes(), x.options());
  run_fused(x,
            gated_residual_cpu,
            &cuda::KernelTable::gated_residual,
            {.element = element_of(x),
             .y_element = element_of(y),
             .row_element = element_of(gate),
             .x = x.const_data_ptr(),
             .x_frame_stride = x.stride(0),
             .x_token_stride = x.stride(1),
             .y = y.const_data_ptr(),
             .y_frame_stride = y.stride(0),
             .y_token_stride = y.stride(1),
             .gate = gate.const_data_ptr(),
             .gate_stride = gate.stride(0),
             .out = out.mutable_data_ptr(),
             .frames = x.size(0),
             .S = x.size(1),
             .D = x.size(2)});
  return out;
}

at::Tensor forward_any(const at::Tensor& x, const at::Tensor& y, const at::Tensor& gate) {
  RECORD_FUNCTION(kKernelRecord, reading({x, y, gate}));
  if (wants_sizes_only(x)) return at::empty(x.sizes(), x.options());
  return takes_fused(FusedOp::kGatedResidual, {x}, y, {gate}) ? forward_fused(x, y, gate)
                                                              : forward_aten(x, y, gate);
}

// The gradient of x is the incoming one. dy = gate * g; dgate = sum over a frame's tokens of g * y.
std::pair<at::Tensor, at::Tensor> backward_aten(const at::Tensor& grad,
                                                const at::Tensor& y_BFSD,
                                                const at::Tensor& gate_BFD) {
  const at::ScalarType acc = accumulate_type(grad);
  const at::Tensor g = grad.to(acc);
  const at::Tensor dy = g * gate_BFD.to(acc).unsqueeze(2);
  const at::Tensor dgate = (g * y_BFSD.to(acc)).sum(2);
  return {dy.to(y_BFSD.scalar_type()), dgate.to(gate_BFD.scalar_type())};
}

std::pair<at::Tensor, at::Tensor> backward_fused(const at::Tensor& grad_BFSD,
                                                 const at::Tensor& y_BFSD,
                                                 const at::Tensor& gate_BFD) {
  const at::Tensor grad = dense_frames(grad_BFSD);
  const at::Tensor y = dense_frames(y_BFSD);
  const at::Tensor gate = dense_rows(gate_BFD);
  const at::Tensor dy = at::empty(y_BFSD.sizes(), y.options());
  const at::Tensor dgate = at::empty(gate_BFD.sizes(), gate.options());
  const at::Tensor sums = token_sums_scratch(1, y);
  run_fused(y,
            gated_residual_backward_cpu,
            &cuda::KernelTable::gated_residual_backward,
            {.element = element_of(grad),
             .y_element = element_of(y),
             .row_element = element_of(gate),
             .grad = grad.const_data_ptr(),
             .grad_frame_stride = grad.stride(0),
             .grad_token_stride = grad.stride(1),
             .y = y.const_data_ptr(),
             .y_frame_stride = y.stride(0),
             .y_token_stride = y.stride(1),
             .gate = gate.const_data_ptr(),
             .gate_stride = gate.stride(0),
             .grad_y = dy.mutable_data_ptr(),
             .grad_gate = dgate.mutable_data_ptr(),
             .partial_sums = scratch_data(sums),
             .frames = y.size(0),
             .S = y.size(1),
             .D = y.size(2)});
  return {dy, dgate};
}

}  // namespace

std::pair<at::Tensor, at::Tensor> gated_backward(const at::Tensor& grad,
                                                 const at::Tensor& y,
                                                 const at::Tensor& gate) {
  RECORD_FUNCTION(kKernelRecord, reading({grad, y, gate}, /*kernels=*/3));
  if (wants_sizes_only(y)) {
    return {at::empty(y.sizes(), y.options()), at::empty(gate.sizes(), gate.options())};
  }
  return takes_fused(FusedOp::kGatedResidual, {grad}, y, {gate}) ? backward_fused(grad, y, gate)
                                                                 : backward_aten(grad, y, gate);
}

namespace {

struct GatedResidual : torch::autograd::Function<GatedResidual> {
  static at::Tensor forward(AutogradContext* ctx,
                            const at::Tensor& x,
                            const at::Tensor& y,
                            const at::Tensor& gate) {
    ctx->save_for_backward({y, gate});
    return forward_any(x, y, gate);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    auto [dy, dgate] = gated_backward(grads[0], saved[0], saved[1]);
    return {grads[0], dy, dgate};
  }
};

}  // namespace

at::Tensor gated_residual(const at::Tensor& x_BFSD,
                          const at::Tensor& y_BFSD,
                          const at::Tensor& gate_BFD) {
  TORCH_CHECK(x_BFSD.dim() == 4 && y_BFSD.sizes() == x_BFSD.sizes(),
              "gated_residual: x and y [B, F, S, D] expected, got ",
              x_BFSD.sizes(),
              " and ",
              y_BFSD.sizes());
  check_rows("gated_residual", x_BFSD, {gate_BFD});
  if (wants_gradient(x_BFSD, y_BFSD, gate_BFD)) {
    return GatedResidual::apply(x_BFSD, y_BFSD, gate_BFD);
  }
  return forward_any(x_BFSD, y_BFSD, gate_BFD);
}

}  // namespace vmla::kernels
