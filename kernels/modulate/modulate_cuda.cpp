#include "kernels/modulate/modulate_cuda.h"

#include <ATen/ATen.h>

#include "kernels/cuda/token_chunks.h"
#include "kernels/cuda_dispatch.h"
#include "kernels/dispatch.h"

namespace vmla::kernels {
namespace {

/// [B, F, S, D] as [frames, S, D] with dense channels.
at::Tensor dense_frames(const at::Tensor& x_BFSD) {
  return dense_channels(x_BFSD.flatten(0, 1));
}

/// Room for the sums over tokens: `sums` of them for each channel of each frame.
at::Tensor partial_sums(int64_t sums, const at::Tensor& x_frames) {
  return at::empty({sums, x_frames.size(0), cuda::token_chunks(x_frames.size(1)), x_frames.size(2)},
                   x_frames.options().dtype(at::kFloat));
}

}  // namespace

std::array<at::Tensor, 3> layer_norm_modulate_cuda(const at::Tensor& x_BFSD,
                                                   const at::Tensor& shift_BFD,
                                                   const at::Tensor& scale_BFD,
                                                   double eps) {
  const at::Tensor x = dense_frames(x_BFSD);
  const at::Tensor shift = dense_rows(shift_BFD);
  const at::Tensor scale = dense_rows(scale_BFD);
  const std::array<int64_t, 4> sizes{x_BFSD.size(0), x_BFSD.size(1), x_BFSD.size(2), 1};
  const at::Tensor y = at::empty(x_BFSD.sizes(), x.options());
  const at::Tensor mean = at::empty(sizes, x.options().dtype(at::kFloat));
  const at::Tensor rstd = at::empty_like(mean);
  cuda_kernels()->layer_norm_modulate({.element = cuda_element(x),
                                       .row_element = cuda_element(shift),
                                       .x = x.const_data_ptr(),
                                       .x_frame_stride = x.stride(0),
                                       .x_token_stride = x.stride(1),
                                       .shift = shift.const_data_ptr(),
                                       .shift_stride = shift.stride(0),
                                       .scale = scale.const_data_ptr(),
                                       .scale_stride = scale.stride(0),
                                       .y = y.mutable_data_ptr(),
                                       .mean = mean.mutable_data_ptr<float>(),
                                       .rstd = rstd.mutable_data_ptr<float>(),
                                       .frames = x.size(0),
                                       .S = x.size(1),
                                       .D = x.size(2),
                                       .eps = static_cast<float>(eps)},
                                      x.get_device());
  return {y, mean, rstd};
}

std::array<at::Tensor, 3> layer_norm_modulate_backward_cuda(const at::Tensor& grad_y,
                                                            const at::Tensor& x_BFSD,
                                                            const at::Tensor& scale_BFD,
                                                            const at::Tensor& mean_any,
                                                            const at::Tensor& rstd_any) {
  const at::Tensor grad = dense_frames(grad_y);
  const at::Tensor x = dense_frames(x_BFSD);
  const at::Tensor scale = dense_rows(scale_BFD);
  const at::Tensor mean = mean_any.contiguous();
  const at::Tensor rstd = rstd_any.contiguous();
  const at::Tensor dx = at::empty(x_BFSD.sizes(), x.options());
  const at::Tensor dshift = at::empty(scale_BFD.sizes(), scale.options());
  const at::Tensor dscale = at::empty(scale_BFD.sizes(), scale.options());
  const at::Tensor sums = partial_sums(2, x);
  cuda_kernels()->layer_norm_modulate_backward({.element = cuda_element(x),
                                                .row_element = cuda_element(scale),
                                                .grad_y = grad.const_data_ptr(),
                                                .grad_y_frame_stride = grad.stride(0),
                                                .grad_y_token_stride = grad.stride(1),
                                                .x = x.const_data_ptr(),
                                                .x_frame_stride = x.stride(0),
                                                .x_token_stride = x.stride(1),
                                                .scale = scale.const_data_ptr(),
                                                .scale_stride = scale.stride(0),
                                                .mean = mean.const_data_ptr<float>(),
                                                .rstd = rstd.const_data_ptr<float>(),
                                                .grad_x = dx.mutable_data_ptr(),
                                                .grad_shift = dshift.mutable_data_ptr(),
                                                .grad_scale = dscale.mutable_data_ptr(),
                                                .partial_sums = sums.mutable_data_ptr<float>(),
                                                .frames = x.size(0),
                                                .S = x.size(1),
                                                .D = x.size(2)},
                                               x.get_device());
  return {dx, dshift, dscale};
}

at::Tensor gated_residual_cuda(const at::Tensor& x_BFSD,
                               const at::Tensor& y_BFSD,
                               const at::Tensor& gate_BFD) {
  const at::Tensor x = dense_frames(x_BFSD);
  const at::Tensor y = dense_frames(y_BFSD);
  const at::Tensor gate = dense_rows(gate_BFD);
  at::Tensor out = at::empty(x_BFSD.sizes(), x.options());
  cuda_kernels()->gated_residual({.element = cuda_element(x),
                                  .row_element = cuda_element(gate),
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
                                  .D = x.size(2)},
                                 x.get_device());
  return out;
}

std::pair<at::Tensor, at::Tensor> gated_residual_backward_cuda(const at::Tensor& grad_BFSD,
                                                               const at::Tensor& y_BFSD,
                                                               const at::Tensor& gate_BFD) {
  const at::Tensor grad = dense_frames(grad_BFSD);
  const at::Tensor y = dense_frames(y_BFSD);
  const at::Tensor gate = dense_rows(gate_BFD);
  const at::Tensor dy = at::empty(y_BFSD.sizes(), y.options());
  const at::Tensor dgate = at::empty(gate_BFD.sizes(), gate.options());
  const at::Tensor sums = partial_sums(1, y);
  cuda_kernels()->gated_residual_backward({.element = cuda_element(y),
                                           .row_element = cuda_element(gate),
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
                                           .partial_sums = sums.mutable_data_ptr<float>(),
                                           .frames = y.size(0),
                                           .S = y.size(1),
                                           .D = y.size(2)},
                                          y.get_device());
  return {dy, dgate};
}

}  // namespace vmla::kernels
