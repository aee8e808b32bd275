#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels/dispatch.h"
#include "kernels/fused_dispatch.h"
#include "kernels/modulate/modulate.h"
#include "kernels/modulate/modulate_cpu.h"
#include "kernels/modulate/token_sums_scratch.h"

namespace vmla::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Modulated {
  at::Tensor y;
  at::Tensor mean, rstd;  // [B, F, S, 1], accumulate type
};

Modulated empty_outputs(const at::Tensor& x_BFSD, at::ScalarType dtype) {
  const auto statistics = x_BFSD.options().dtype(accumulate_type(x_BFSD));
  const std::array<int64_t, 4> sizes{x_BFSD.size(0), x_BFSD.size(1), x_BFSD.size(2), 1};
  return {at::empty(x_BFSD.sizes(), x_BFSD.options().dtype(dtype)),
          at::empty(sizes, statistics),
          at::empty(sizes, statistics)};
}

Modulated forward_aten(const at::Tensor& x_BFSD,
                       const at::Tensor& shift_BFD,
                       const at::Tensor& scale_BFD,
                       double eps,
                       at::ScalarType dtype) {
  const at::Tensor x = x_BFSD.to(accumulate_type(x_BFSD));
  const at::Tensor mean = x.mean(-1, /*keepdim=*/true);
  const at::Tensor centred = x - mean;
  const at::Tensor rstd = centred.square().mean(-1, /*keepdim=*/true).add_(eps).rsqrt_();
  const at::Tensor y =
      (centred * rstd).mul_((scale_BFD + 1).unsqueeze(2)).add_(shift_BFD.unsqueeze(2));
  return {y.to(dtype), mean, rstd};
}

Modulated forward_fused(const at::Tensor& x_BFSD,
                        const at::Tensor& shift_BFD,
                        const at::Tensor& scale_BFD,
                        double eps,
                        at::ScalarType dtype) {
  const at::Tensor x = dense_frames(x_BFSD);
  const at::Tensor shift = dense_rows(shift_BFD);
  const at::Tensor scale = dense_rows(scale_BFD);
  Modulated out = empty_outputs(x_BFSD, dtype);
  run_fused(x,
            layer_norm_modulate_cpu,
            &cuda::KernelTable::layer_norm_modulate,
            {.element = element_of(x),
             .y_element = element_of(out.y),
             .row_element = element_of(shift),
             .x = x.const_data_ptr(),
             .x_frame_stride = x.stride(0),
             .x_token_stride = x.stride(1),
             .shift = shift.const_data_ptr(),
             .shift_stride = shift.stride(0),
             .scale = scale.const_data_ptr(),
             .scale_stride = scale.stride(0),
             .y = out.y.mutable_data_ptr(),
             .mean = out.mean.mutable_data_ptr(),
             .rstd = out.rstd.mutable_data_ptr(),
             .frames = x.size(0),
             .S = x.size(1),
             .D = x.size(2),
             .eps = eps});
  return out;
}

Modulated forward_any(const at::Tensor& x,
                      const at::Tensor& shift,
                      const at::Tensor& scale,
                      double eps,
                      at::ScalarType dtype) {
  if (wants_sizes_only(x)) return empty_outputs(x, dtype);
  return takes_fused(FusedOp::kLayerNormModulate, {x}, dtype, {shift, scale})
             ? forward_fused(x, shift, scale, eps, dtype)
             : forward_aten(x, shift, scale, eps, dtype);
}

struct ModulatedGrads {
  at::Tensor x, shift, scale;
};

// With h = (x - mean) * rstd and g = dy * (1 + scale): dx = rstd * (g - mean(g) - h * mean(g * h)),
// dshift = sum over a frame's tokens of dy, dscale = the same sum of dy * h.
ModulatedGrads backward_aten(const at::Tensor& grad_y,
                             const at::Tensor& x_BFSD,
                             const at::Tensor& shift_BFD,
                             const at::Tensor& scale_BFD,
                             const at::Tensor& mean,
                             const at::Tensor& rstd) {
  const at::ScalarType acc = accumulate_type(x_BFSD);
  const at::Tensor dy = grad_y.to(acc);
  const at::Tensor h = (x_BFSD.to(acc) - mean).mul_(rstd);
  const at::Tensor g = dy * (scale_BFD.to(acc) + 1).unsqueeze(2);
  const at::Tensor dx =
      (g - g.mean(-1, /*keepdim=*/true) - h * (g * h).mean(-1, /*keepdim=*/true)).mul_(rstd);
  return {dx.to(x_BFSD.scalar_type()),
          dy.sum(2).to(shift_BFD.scalar_type()),
          (dy * h).sum(2).to(scale_BFD.scalar_type())};
}

ModulatedGrads empty_grads(const at::Tensor& x_BFSD,
                           const at::Tensor& shift_BFD,
                           const at::Tensor& scale_BFD) {
  return {at::empty(x_BFSD.sizes(), x_BFSD.options()),
          at::empty(shift_BFD.sizes(), shift_BFD.options()),
          at::empty(scale_BFD.sizes(), scale_BFD.options())};
}

ModulatedGrads backward_fused(const at::Tensor& grad_any,
                              const at::Tensor& x_BFSD,
                              const at::Tensor& shift_BFD,
                              const at::Tensor& scale_BFD,
                              const at::Tensor& mean_any,
                              const at::Tensor& rstd_any) {
  const at::Tensor grad = dense_frames(grad_any);
  const at::Tensor x = dense_frames(x_BFSD);
  const at::Tensor scale = dense_rows(scale_BFD);
  const at::Tensor mean = mean_any.contiguous();
  const at::Tensor rstd = rstd_any.contiguous();
  ModulatedGrads out = empty_grads(x_BFSD, shift_BFD, scale_BFD);
  const at::Tensor sums = token_sums_scratch(2, x);
  run_fused(x,
            layer_norm_modulate_backward_cpu,
            &cuda::KernelTable::layer_norm_modulate_backward,
            {.element = element_of(x),
             .y_element = element_of(grad),
             .row_element = element_of(scale),
             .grad_y = grad.const_data_ptr(),
             .grad_y_frame_stride = grad.stride(0),
             .grad_y_token_stride = grad.stride(1),
             .x = x.const_data_ptr(),
             .x_frame_stride = x.stride(0),
             .x_token_stride = x.stride(1),
             .scale = scale.const_data_ptr(),
             .scale_stride = scale.stride(0),
             .mean = mean.const_data_ptr(),
             .rstd = rstd.const_data_ptr(),
             .grad_x = out.x.mutable_data_ptr(),
             .grad_shift = out.shift.mutable_data_ptr(),
             .grad_scale = out.scale.mutable_data_ptr(),
             .partial_sums = scratch_data(sums),
             .frames = x.size(0),
             .S = x.size(1),
             .D = x.size(2)});
  return out;
}

ModulatedGrads backward_any(const at::Tensor& grad_y,
                            const at::Tensor& x,
                            const at::Tensor& shift,
                            const at::Tensor& scale,
                            const at::Tensor& mean,
                            const at::Tensor& rstd) {
  if (wants_sizes_only(x)) return empty_grads(x, shift, scale);
  return takes_fused(FusedOp::kLayerNormModulate, {x}, grad_y, {shift, scale})
             ? backward_fused(grad_y, x, shift, scale, mean, rstd)
             : backward_aten(grad_y, x, shift, scale, mean, rstd);
}

struct LayerNormModulate : torch::autograd::Function<LayerNormModulate> {
  static at::Tensor forward(AutogradContext* ctx,
                            const at::Tensor& x,
                            const at::Tensor& shift,
                            const at::Tensor& scale,
                            double eps,
                            at::ScalarType dtype) {
    Modulated out = forward_any(x, shift, scale, eps, dtype);
    ctx->save_for_backward({x, shift, scale, out.mean, out.rstd});
    return out.y;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list s = ctx->get_saved_variables();
    ModulatedGrads d = backward_any(grads[0], s[0], s[1], s[2], s[3], s[4]);
    return {d.x, d.shift, d.scale, at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor layer_norm_modulate(const at::Tensor& x_BFSD,
                               const at::Tensor& shift_BFD,
                               const at::Tensor& scale_BFD,
                               double eps,
                               std::optional<at::ScalarType> dtype) {
  TORCH_CHECK(
      x_BFSD.dim() == 4, "layer_norm_modulate: x [B, F, S, D] expected, got ", x_BFSD.sizes());
  const std::array<int64_t, 3> sizes_BFD{x_BFSD.size(0), x_BFSD.size(1), x_BFSD.size(3)};
  TORCH_CHECK(shift_BFD.sizes() == sizes_BFD && scale_BFD.sizes() == sizes_BFD,
              "layer_norm_modulate: shift and scale [B, F, D] expected for x ",
              x_BFSD.sizes(),
              ", got ",
              shift_BFD.sizes(),
              " and ",
              scale_BFD.sizes());
  const at::ScalarType of_y = dtype.value_or(x_BFSD.scalar_type());
  if (wants_gradient(x_BFSD, shift_BFD, scale_BFD)) {
    return LayerNormModulate::apply(x_BFSD, shift_BFD, scale_BFD, eps, of_y);
  }
  return forward_any(x_BFSD, shift_BFD, scale_BFD, eps, of_y).y;
}

}  // namespace vmla::kernels
