#include "kernels/rms_norm/rms_norm.h"

#include <ATen/ATen.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels/dispatch.h"
#include "kernels/fused_dispatch.h"
#include "kernels/kernel_record.h"
#include "kernels/rms_norm/rms_norm_cpu.h"
#include "kernels/token_chunks.h"

namespace vmla::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct NormedRows {
  at::Tensor y;
  at::Tensor rstd;  // [..., 1], accumulate type: 1 / sqrt(mean(x^2) + eps)
};

NormedRows forward_aten(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const at::Tensor x_acc = x.to(accumulate_type(x));
  const at::Tensor rstd = x_acc.square().mean(-1, /*keepdim=*/true).add_(eps).rsqrt_();
  return {x_acc.mul(rstd).mul_(weight).to(x.scalar_type()), rstd};
}

/// x with dense rows, and what is computed of it.
struct Rows {
  at::Tensor x, weight, y, rstd;
  at::Tensor like;  // x as it was given

  Rows(const at::Tensor& given, const at::Tensor& given_weight)
      : x(dense_rows(given)),
        weight(given_weight.contiguous()),
        y(at::empty(given.sizes(), given.options())),
        rstd(at::empty({x.size(0)}, x.options().dtype(accumulate_type(x)))),
        like(given) {}
  RmsNormRows params() const {
    return {.x = x.const_data_ptr(),
            .x_stride = x.stride(0),
            .weight = weight.const_data_ptr(),
            .y = y.mutable_data_ptr(),
            .rstd = rstd.mutable_data_ptr(),
            .rows = x.size(0),
            .D = x.size(1)};
  }
  NormedRows normed() const {
    return {y, rstd.view(like.sizes().slice(0, like.dim() - 1)).unsqueeze(-1)};
  }
};

void run_rows(const Rows& first, const RmsNormRows& second, double eps) {
  run_fused(first.x,
            rms_norm_cpu,
            &cuda::KernelTable::rms_norm,
            {.element = element_of(first.x),
             .weight_element = element_of(first.weight),
             .first = first.params(),
             .second = second,
             .eps = eps});
}

NormedRows empty_rows(const at::Tensor& x) {
  std::vector<int64_t> rows = x.sizes().vec();
  rows.back() = 1;
  return {at::empty(x.sizes(), x.options()),
          at::empty(rows, x.options().dtype(accumulate_type(x)))};
}

NormedRows forward_any(const at::Tensor& x, const at::Tensor& weight, double eps) {
  RECORD_FUNCTION(kKernelRecord, reading({x, weight}));
  if (wants_sizes_only(x)) return empty_rows(x);
  if (!takes_fused(FusedOp::kRmsNorm, {x}, {weight})) return forward_aten(x, weight, eps);
  const Rows rows(x, weight);
  run_rows(rows, {}, eps);
  return rows.normed();
}

std::pair<NormedRows, NormedRows> forward_pair(const at::Tensor& x,
                                               const at::Tensor& weight,
                                               const at::Tensor& other,
                                               const at::Tensor& other_weight,
                                               double eps) {
  RECORD_FUNCTION(kKernelRecord, reading({x, weight, other, other_weight}));
  if (wants_sizes_only(x)) return {empty_rows(x), empty_rows(other)};
  if (!takes_fused(FusedOp::kRmsNorm, {x, other}, {weight, other_weight}))
    return {forward_any(x, weight, eps), forward_any(other, other_weight, eps)};
  const Rows first(x, weight), second(other, other_weight);
  run_rows(first, second.params(), eps);
  return {first.normed(), second.normed()};
}

// With h = x * rstd and g = dy * w: dx = rstd * (g - h * mean(g * h)), dw = sum over rows of dy *
// h.
std::pair<at::Tensor, at::Tensor> backward_aten(const at::Tensor& grad_y,
                                                const at::Tensor& x,
                                                const at::Tensor& weight,
                                                const at::Tensor& rstd) {
  const at::ScalarType acc = accumulate_type(x);
  const int64_t D = x.size(-1);
  const at::Tensor dy = grad_y.to(acc);
  const at::Tensor h = x.to(acc) * rstd;
  const at::Tensor g = dy * weight.to(acc);
  const at::Tensor dx = (g - h * (g * h).mean(-1, /*keepdim=*/true)).mul_(rstd);
  const at::Tensor dw = (dy * h).reshape({-1, D}).sum(0);
  return {dx.to(x.scalar_type()), dw.to(weight.scalar_type())};
}

std::pair<at::Tensor, at::Tensor> backward_fused(const at::Tensor& grad_any,
                                                 const at::Tensor& x_any,
                                                 const at::Tensor& weight_any,
                                                 const at::Tensor& rstd_any) {
  const at::Tensor grad = dense_rows(grad_any);
  const at::Tensor x = dense_rows(x_any);
  const at::Tensor weight = weight_any.contiguous();
  const at::Tensor rstd = rstd_any.contiguous();
  const at::Tensor dx = at::empty(x_any.sizes(), x.options());
  const at::Tensor dw = at::empty(weight.sizes(), weight.options());
  const at::Tensor sums = at::empty({token_chunks(x.size(0)), x.size(1)}, rstd.options());
  run_fused(x,
            rms_norm_backward_cpu,
            &cuda::KernelTable::rms_norm_backward,
            {.element = element_of(x),
             .weight_element = element_of(weight),
             .grad_y = grad.const_data_ptr(),
             .grad_y_stride = grad.stride(0),
             .x = x.const_data_ptr(),
             .x_stride = x.stride(0),
             .weight = weight.const_data_ptr(),
             .rstd = rstd.const_data_ptr(),
             .grad_x = dx.mutable_data_ptr(),
             .grad_weight = dw.mutable_data_ptr(),
             .partial_sums = sums.mutable_data_ptr(),
             .rows = x.size(0),
             .D = x.size(1)});
  return {dx, dw};
}

std::pair<at::Tensor, at::Tensor> backward_any(const at::Tensor& grad_y,
                                               const at::Tensor& x,
                                               const at::Tensor& weight,
                                               const at::Tensor& rstd) {
  RECORD_FUNCTION(kKernelRecord, reading({grad_y, x, weight, rstd}, /*kernels=*/3));
  if (wants_sizes_only(x)) {
    return {at::empty(x.sizes(), x.options()), at::empty(weight.sizes(), weight.options())};
  }
  return takes_fused(FusedOp::kRmsNorm, {x, grad_y}, {weight})
             ? backward_fused(grad_y, x, weight, rstd)
             : backward_aten(grad_y, x, weight, rstd);
}

struct RmsNorm : torch::autograd::Function<RmsNorm> {
  static at::Tensor forward(AutogradContext* ctx,
                            const at::Tensor& x,
                            const at::Tensor& weight,
                            double eps) {
    NormedRows normed = forward_any(x, weight, eps);
    ctx->save_for_backward({x, weight, normed.rstd});
    return normed.y;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    auto [dx, dw] = backward_any(grads[0], saved[0], saved[1], saved[2]);
    return {dx, dw, at::Tensor()};
  }
};

struct RmsNormPair : torch::autograd::Function<RmsNormPair> {
  static variable_list forward(AutogradContext* ctx,
                               const at::Tensor& x,
                               const at::Tensor& weight,
                               const at::Tensor& other,
                               const at::Tensor& other_weight,
                               double eps) {
    const auto [first, second] = forward_pair(x, weight, other, other_weight, eps);
    ctx->save_for_backward({x, weight, first.rstd, other, other_weight, second.rstd});
    return {first.y, second.y};
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list s = ctx->get_saved_variables();
    auto [dx, dw] = backward_any(grads[0], s[0], s[1], s[2]);
    auto [dother, dother_weight] = backward_any(grads[1], s[3], s[4], s[5]);
    return {dx, dw, dother, dother_weight, at::Tensor()};
  }
};

void check_weight(const at::Tensor& x, const at::Tensor& weight) {
  TORCH_CHECK(x.dim() >= 1 && weight.dim() == 1 && weight.size(0) == x.size(-1),
              "rms_norm: x [..., D] and weight [D] expected, got ",
              x.sizes(),
              " and ",
              weight.sizes());
}

}  // namespace

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  check_weight(x, weight);
  if (wants_gradient(x, weight)) return RmsNorm::apply(x, weight, eps);
  return forward_any(x, weight, eps).y;
}

std::pair<at::Tensor, at::Tensor> rms_norm_pair(const at::Tensor& x,
                                                const at::Tensor& weight,
                                                const at::Tensor& other,
                                                const at::Tensor& other_weight,
                                                double eps) {
  check_weight(x, weight);
  check_weight(other, other_weight);
  if (wants_gradient(x, weight, other, other_weight)) {
    const variable_list out = RmsNormPair::apply(x, weight, other, other_weight, eps);
    return {out[0], out[1]};
  }
  const auto [first, second] = forward_pair(x, weight, other, other_weight, eps);
  return {first.y, second.y};
}

}  // namespace vmla::kernels
