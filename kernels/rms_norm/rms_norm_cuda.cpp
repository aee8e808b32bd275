#include "kernels/rms_norm/rms_norm_cuda.h"

#include <ATen/ATen.h>

#include "kernels/cuda/token_chunks.h"
#include "kernels/cuda_dispatch.h"
#include "kernels/dispatch.h"

namespace vmla::kernels {

std::pair<at::Tensor, at::Tensor> rms_norm_cuda(const at::Tensor& x_any,
                                                const at::Tensor& weight_any,
                                                double eps) {
  const at::Tensor x = dense_rows(x_any);
  const at::Tensor weight = weight_any.contiguous();
  const at::Tensor y = at::empty(x_any.sizes(), x.options());
  const at::Tensor rstd = at::empty({x.size(0)}, x.options().dtype(at::kFloat));
  cuda_kernels()->rms_norm({.element = cuda_element(x),
                            .weight_element = cuda_element(weight),
                            .x = x.const_data_ptr(),
                            .x_stride = x.stride(0),
                            .weight = weight.const_data_ptr(),
                            .y = y.mutable_data_ptr(),
                            .rstd = rstd.mutable_data_ptr<float>(),
                            .rows = x.size(0),
                            .D = x.size(1),
                            .eps = static_cast<float>(eps)},
                           x.get_device());
  return {y, rstd.view(x_any.sizes().slice(0, x_any.dim() - 1)).unsqueeze(-1)};
}

std::pair<at::Tensor, at::Tensor> rms_norm_backward_cuda(const at::Tensor& grad_any,
                                                         const at::Tensor& x_any,
                                                         const at::Tensor& weight_any,
                                                         const at::Tensor& rstd_any) {
  const at::Tensor grad = dense_rows(grad_any);
  const at::Tensor x = dense_rows(x_any);
  const at::Tensor weight = weight_any.contiguous();
  const at::Tensor rstd = rstd_any.contiguous();
  const at::Tensor dx = at::empty(x_any.sizes(), x.options());
  const at::Tensor dw = at::empty(weight.sizes(), weight.options());
  const at::Tensor sums = at::empty({cuda::token_chunks(x.size(0)), x.size(1)}, rstd.options());
  cuda_kernels()->rms_norm_backward({.element = cuda_element(x),
                                     .weight_element = cuda_element(weight),
                                     .grad_y = grad.const_data_ptr(),
                                     .grad_y_stride = grad.stride(0),
                                     .x = x.const_data_ptr(),
                                     .x_stride = x.stride(0),
                                     .weight = weight.const_data_ptr(),
                                     .rstd = rstd.const_data_ptr<float>(),
                                     .grad_x = dx.mutable_data_ptr(),
                                     .grad_weight = dw.mutable_data_ptr(),
                                     .partial_sums = sums.mutable_data_ptr<float>(),
                                     .rows = x.size(0),
                                     .D = x.size(1)},
                                    x.get_device());
  return {dx, dw};
}

}  // namespace vmla::kernels
