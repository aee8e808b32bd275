#include <ATen/ATen.h>
#include <ATen/record_function.h>

#include "kernels/dispatch.h"
#include "kernels/fused_dispatch.h"
#include "kernels/kernel_record.h"
#include "kernels/modulate/modulate_cpu.h"
#include "kernels/modulate/passes.h"
#include "kernels/modulate/token_sums_scratch.h"

namespace vmla::kernels {
namespace {

float offset_of(ScaleIs scale_is) {
  return scale_is == ScaleIs::kChange ? 1 : 0;
}

Normed empty_outputs(const NormInputs& in) {
  const at::Tensor& x = in.x_BFSD;
  const auto statistics = x.options().dtype(accumulate_type(x));
  const std::array<int64_t, 4> sizes{x.size(0), x.size(1), x.size(2), 1};
  return {in.update_BFSD.defined() ? at::empty(x.sizes(), x.options()) : x,
          at::empty(x.sizes(), x.options().dtype(in.dtype)),
          at::empty(sizes, statistics),
          at::empty(sizes, statistics)};
}

at::Tensor sum_aten(const NormInputs& in) {
  if (!in.update_BFSD.defined()) return in.x_BFSD;
  const at::ScalarType acc = accumulate_type(in.x_BFSD);
  const at::Tensor x = in.x_BFSD.to(acc), update = in.update_BFSD.to(acc);
  const at::Tensor sum =
      in.gate_BFD.defined() ? at::addcmul(x, update, in.gate_BFD.to(acc).unsqueeze(2)) : x + update;
  return sum.to(in.x_BFSD.scalar_type());
}

Normed forward_aten(const NormInputs& in) {
  const at::Tensor sum = sum_aten(in);
  const at::Tensor x = sum.to(accumulate_type(sum));
  const at::Tensor mean = x.mean(-1, /*keepdim=*/true);
  const at::Tensor centred = x - mean;
  const at::Tensor rstd = centred.square().mean(-1, /*keepdim=*/true).add_(in.eps).rsqrt_();
  const at::Tensor y =
      (centred * rstd)
          .mul_((in.scale_BFD.to(x.scalar_type()) + offset_of(in.scale_is)).unsqueeze(2))
          .add_(in.shift_BFD.unsqueeze(2));
  return {sum, y.to(in.dtype), mean, rstd};
}

Normed forward_fused(const NormInputs& in) {
  const at::Tensor x = dense_frames(in.x_BFSD);
  const at::Tensor shift = dense_rows(in.shift_BFD), scale = dense_rows(in.scale_BFD);
  Normed out = empty_outputs(in);
  LayerNormModulateParams params{.element = element_of(x),
                                 .y_element = element_of(out.y_BFSD),
                                 .row_element = element_of(shift),
                                 .x = x.const_data_ptr(),
                                 .x_frame_stride = x.stride(0),
                                 .x_token_stride = x.stride(1),
                                 .shift = shift.const_data_ptr(),
                                 .shift_stride = shift.stride(0),
                                 .scale = scale.const_data_ptr(),
                                 .scale_stride = scale.stride(0),
                                 .scale_offset = offset_of(in.scale_is),
                                 .y = out.y_BFSD.mutable_data_ptr(),
                                 .mean = out.mean.mutable_data_ptr(),
                                 .rstd = out.rstd.mutable_data_ptr(),
                                 .frames = x.size(0),
                                 .S = x.size(1),
                                 .D = x.size(2),
                                 .eps = in.eps};
  at::Tensor update, gate;  // alive until the pass is queued
  if (in.update_BFSD.defined()) {
    update = dense_frames(in.update_BFSD);
    params.update = update.const_data_ptr();
    params.update_frame_stride = update.stride(0);
    params.update_token_stride = update.stride(1);
    params.sum = out.sum_BFSD.mutable_data_ptr();
  }
  if (in.gate_BFD.defined()) {
    gate = dense_rows(in.gate_BFD);
    params.gate = gate.const_data_ptr();
    params.gate_stride = gate.stride(0);
  }
  run_fused(x, layer_norm_modulate_cpu, &cuda::KernelTable::layer_norm_modulate, params);
  return out;
}

/// Whether one pass takes all of it: the update is in the dtype of y.
bool one_pass(const NormInputs& in) {
  std::vector<at::Tensor> rows{in.shift_BFD, in.scale_BFD};
  if (in.gate_BFD.defined()) rows.push_back(in.gate_BFD);
  if (in.update_BFSD.defined() &&
      (in.update_BFSD.scalar_type() != in.dtype || in.update_BFSD.device() != in.x_BFSD.device())) {
    return false;
  }
  return takes_fused(FusedOp::kLayerNormModulate, {in.x_BFSD}, in.dtype, rows);
}

// With h = (x - mean) * rstd and g = dy * (offset + scale):
// dx = rstd * (g - mean(g) - h * mean(g * h)), dshift = sum over a frame's tokens of dy, dscale =
// the same sum of dy * h.
NormGradients backward_aten(const at::Tensor& grad_y,
                            const at::Tensor& grad_sum,
                            const SavedNorm& in) {
  const at::ScalarType acc = accumulate_type(in.x_BFSD);
  const at::Tensor dy = grad_y.to(acc);
  const at::Tensor h = (in.x_BFSD.to(acc) - in.mean).mul_(in.rstd);
  const at::Tensor g = dy * (in.scale_BFD.to(acc) + offset_of(in.scale_is)).unsqueeze(2);
  at::Tensor dx =
      (g - g.mean(-1, /*keepdim=*/true) - h * (g * h).mean(-1, /*keepdim=*/true)).mul_(in.rstd);
  if (grad_sum.defined()) dx += grad_sum;
  return {dx.to(in.x_BFSD.scalar_type()),
          dy.sum(2).to(in.shift_BFD.scalar_type()),
          (dy * h).sum(2).to(in.scale_BFD.scalar_type())};
}

NormGradients empty_gradients(const SavedNorm& in) {
  return {at::empty(in.x_BFSD.sizes(), in.x_BFSD.options()),
          at::empty(in.shift_BFD.sizes(), in.shift_BFD.options()),
          at::empty(in.scale_BFD.sizes(), in.scale_BFD.options())};
}

NormGradients backward_fused(const at::Tensor& grad_any,
                             const at::Tensor& grad_sum_any,
                             const SavedNorm& in) {
  const at::Tensor grad = dense_frames(grad_any);
  const at::Tensor x = dense_frames(in.x_BFSD);
  const at::Tensor scale = dense_rows(in.scale_BFD);
  const at::Tensor mean = in.mean.contiguous();
  const at::Tensor rstd = in.rstd.contiguous();
  NormGradients out = empty_gradients(in);
  const at::Tensor sums = token_sums_scratch(2, x);
  LayerNormModulateBackwardParams params{.element = element_of(x),
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
                                         .scale_offset = offset_of(in.scale_is),
                                         .mean = mean.const_data_ptr(),
                                         .rstd = rstd.const_data_ptr(),
                                         .grad_x = out.x_BFSD.mutable_data_ptr(),
                                         .grad_shift = out.shift_BFD.mutable_data_ptr(),
                                         .grad_scale = out.scale_BFD.mutable_data_ptr(),
                                         .partial_sums = scratch_data(sums),
                                         .frames = x.size(0),
                                         .S = x.size(1),
                                         .D = x.size(2)};
  at::Tensor grad_sum;  // alive until the pass is queued
  if (grad_sum_any.defined()) {
    grad_sum = dense_frames(grad_sum_any);
    params.grad_sum = grad_sum.const_data_ptr();
    params.grad_sum_frame_stride = grad_sum.stride(0);
    params.grad_sum_token_stride = grad_sum.stride(1);
  }
  run_fused(x,
            layer_norm_modulate_backward_cpu,
            &cuda::KernelTable::layer_norm_modulate_backward,
            params);
  return out;
}

}  // namespace

Normed norm_forward(const NormInputs& in) {
  RECORD_FUNCTION(kKernelRecord,
                  reading({in.x_BFSD, in.update_BFSD, in.gate_BFD, in.shift_BFD, in.scale_BFD}));
  if (wants_sizes_only(in.x_BFSD)) return empty_outputs(in);
  return one_pass(in) ? forward_fused(in) : forward_aten(in);
}

NormGradients norm_backward(const at::Tensor& grad_y,
                            const at::Tensor& grad_sum,
                            const SavedNorm& in) {
  RECORD_FUNCTION(
      kKernelRecord,
      reading({grad_y, grad_sum, in.x_BFSD, in.scale_BFD, in.mean, in.rstd}, /*kernels=*/4));
  if (wants_sizes_only(in.x_BFSD)) return empty_gradients(in);
  const bool fused =
      takes_fused(FusedOp::kLayerNormModulate, {in.x_BFSD}, grad_y, {in.shift_BFD, in.scale_BFD});
  return fused ? backward_fused(grad_y, grad_sum, in) : backward_aten(grad_y, grad_sum, in);
}

void check_rows(const char* name, const at::Tensor& x_BFSD, at::TensorList rows_BFD) {
  TORCH_CHECK(x_BFSD.dim() == 4, name, ": x [B, F, S, D] expected, got ", x_BFSD.sizes());
  const std::array<int64_t, 3> sizes_BFD{x_BFSD.size(0), x_BFSD.size(1), x_BFSD.size(3)};
  for (const at::Tensor& rows : rows_BFD) {
    TORCH_CHECK(!rows.defined() || rows.sizes() == sizes_BFD,
                name,
                ": rows [B, F, D] expected for x ",
                x_BFSD.sizes(),
                ", got ",
                rows.sizes());
  }
}

}  // namespace vmla::kernels
