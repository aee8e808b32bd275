#include "kernels/rope_3d/rope_3d.h"

#include <ATen/ATen.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels/dispatch.h"
#include "kernels/fused_dispatch.h"
#include "kernels/kernel_record.h"
#include "kernels/rope_3d/rope_3d_cpu.h"
#include "kernels/rope_3d/rope_passes.h"

namespace vmla::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Tensor rotate_fused(const at::Tensor& x_BLNK,
                        const at::Tensor& cos,
                        const at::Tensor& sin,
                        int64_t first_channel,
                        bool inverse) {
  const at::Tensor x = dense_channels(x_BLNK);
  const RopeTable table{cos.contiguous(), sin.contiguous()};
  at::Tensor y = at::empty(x.sizes(), x.options());
  run_fused(
      x, rope_cpu, &cuda::KernelTable::rope, rope_params(x, table, y, first_channel, inverse));
  return y;
}

// Rotates by the table's angle, or back by it.
at::Tensor rotate(const at::Tensor& x_BLNK,
                  const at::Tensor& cos,
                  const at::Tensor& sin,
                  int64_t first_channel,
                  bool inverse) {
  RECORD_FUNCTION(kKernelRecord, reading({x_BLNK, cos, sin}));
  if (wants_sizes_only(x_BLNK)) return at::empty(x_BLNK.sizes(), x_BLNK.options());
  if (takes_rope({x_BLNK}, {cos, sin})) {
    return rotate_fused(x_BLNK, cos, sin, first_channel, inverse);
  }
  return apply_rope_reference(x_BLNK, {cos, inverse ? sin.neg() : sin}, first_channel);
}

}  // namespace

bool takes_rope(at::TensorList tensors, at::TensorList tables) {
  // Kernels read a table in the dtype they compute in, which is never bf16.
  return takes_fused(FusedOp::kRope, tensors, tables) && tables[0].scalar_type() != at::kBFloat16;
}

RopeParams rope_params(const at::Tensor& x_BLNK,
                       const RopeTable& table,
                       const at::Tensor& y_BLNK,
                       int64_t first_channel,
                       bool inverse) {
  return {.element = element_of(x_BLNK),
          .x = x_BLNK.const_data_ptr(),
          .x_batch_stride = x_BLNK.stride(0),
          .x_token_stride = x_BLNK.stride(1),
          .x_head_stride = x_BLNK.stride(2),
          .cos = table.cos.const_data_ptr(),
          .sin = table.sin.const_data_ptr(),
          .y = y_BLNK.mutable_data_ptr(),
          .B = x_BLNK.size(0),
          .L = x_BLNK.size(1),
          .N = x_BLNK.size(2),
          .K = x_BLNK.size(3),
          .num_pairs = table.cos.size(1),
          .first_channel = first_channel,
          .inverse = inverse};
}

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
