#include "kernels/rope_3d/rope_3d.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels/dispatch.h"
#include "kernels/fused_dispatch.h"
#include "kernels/rope_3d/rope_3d_cpu.h"
#include "kernels/rope_3d/rope_passes.h"

namespace vmla::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Tensor rotate_fused(const at::Tensor& x_BLNK,
                        const at::Tensor& cos_any,
                        const at::Tensor& sin_any,
                        int64_t first_channel,
                        bool inverse) {
  const at::Tensor x = dense_channels(x_BLNK);
  const at::Tensor cos = cos_any.contiguous();
  const at::Tensor sin = sin_any.contiguous();
  at::Tensor y = at::empty(x.sizes(), x.options());
  run_fused(x,
            rope_cpu,
            &cuda::KernelTable::rope,
            {.element = element_of(x),
             .x = x.const_data_ptr(),
             .x_batch_stride = x.stride(0),
             .x_token_stride = x.stride(1),
             .x_head_stride = x.stride(2),
             .cos = cos.const_data_ptr(),
             .sin = sin.const_data_ptr(),
             .y = y.mutable_data_ptr(),
             .B = x.size(0),
             .L = x.size(1),
             .N = x.size(2),
             .K = x.size(3),
             .num_pairs = cos.size(1),
             .first_channel = first_channel,
             .inverse = inverse});
  return y;
}

// Rotates by the table's angle, or back by it.
at::Tensor rotate(const at::Tensor& x_BLNK,
                  const at::Tensor& cos,
                  const at::Tensor& sin,
                  int64_t first_channel,
                  bool inverse) {
  if (wants_sizes_only(x_BLNK)) return at::empty(x_BLNK.sizes(), x_BLNK.options());
  // Kernels read a table in the dtype they compute in, which is never bf16.
  if (takes_fused(FusedOp::kRope, {x_BLNK}, {cos, sin}) && cos.scalar_type() != at::kBFloat16) {
    return rotate_fused(x_BLNK, cos, sin, first_channel, inverse);
  }
  return apply_rope_reference(x_BLNK, {cos, inverse ? sin.neg() : sin}, first_channel);
}

}  // namespace

at::Tensor rope_gradient(const at::Tensor& grad_BLNK,
                         const RopeTable& table,
                         int64_t first_channel) {
  return rotate(grad_BLNK, table.cos, table.sin, first_channel, /*inverse=*/true);
}

void check_rope(const char* name,
                const at::Tensor& x_BLNK,
                const RopeTable& table,
                int64_t first_channel) {
  TORCH_CHECK(x_BLNK.dim() == 4, name, ": x [B, L, N, K] expected, got ", x_BLNK.sizes());
  TORCH_CHECK(table.cos.dim() == 2 && table.cos.size(0) == x_BLNK.size(1) &&
                  table.sin.sizes() == table.cos.sizes(),
              name,
              ": a table of [L, num_pairs] expected for x ",
              x_BLNK.sizes(),
              ", got ",
              table.cos.sizes(),
              " and ",
              table.sin.sizes());
  TORCH_CHECK(first_channel >= 0 && first_channel + 2 * table.cos.size(1) <= x_BLNK.size(3),
              name,
              ": rotated channels must lie in the head of ",
              x_BLNK.size(3),
              ", got ",
              table.cos.size(1),
              " pairs from channel ",
              first_channel);
}

namespace {

struct Rope : torch::autograd::Function<Rope> {
  static at::Tensor forward(AutogradContext* ctx,
                            const at::Tensor& x,
                            const at::Tensor& cos,
                            const at::Tensor& sin,
                            int64_t first_channel) {
    ctx->save_for_backward({cos, sin});
    ctx->saved_data["first_channel"] = first_channel;
    return rotate(x, cos, sin, first_channel, /*inverse=*/false);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    const int64_t first_channel = ctx->saved_data["first_channel"].toInt();
    return {rope_gradient(grads[0], {saved[0], saved[1]}, first_channel),
            at::Tensor(),
            at::Tensor(),
            at::Tensor()};
  }
};

}  // namespace

at::Tensor apply_rope(const at::Tensor& x_BLNK, const RopeTable& table, int64_t first_channel) {
  check_rope("apply_rope", x_BLNK, table, first_channel);
  if (wants_gradient(x_BLNK)) return Rope::apply(x_BLNK, table.cos, table.sin, first_channel);
  return rotate(x_BLNK, table.cos, table.sin, first_channel, /*inverse=*/false);
}

}  // namespace vmla::kernels
