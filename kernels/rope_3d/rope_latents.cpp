#include "kernels/rope_3d/rope_latents.h"

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

/// All but the query.
struct LatentRows {
  RopeTable query_table;
  int64_t first_channel;
  LatentPart window, own;
  RopeTable key_table;

  int64_t window_tokens() const { return window.key_BMP.defined() ? window.key_BMP.size(1) : 0; }
};

at::Tensor content_of(const LatentPart& part, at::ScalarType dtype) {
  if (!part.scale_BM1.defined()) return part.content_BMR;
  return part.content_BMR.to(dtype) * part.scale_BM1.to(dtype);
}

bool in_eight_bits(const LatentPart& part, at::Device device) {
  const auto is = [&](const at::Tensor& x, at::ScalarType dtype) {
    return x.scalar_type() == dtype && x.device() == device;
  };
  return is(part.content_BMR, at::kChar) && is(part.scale_BM1, at::kBFloat16);
}

bool one_pass(const at::Tensor& query, const LatentRows& in) {
  std::vector<at::Tensor> tensors{query};
  for (const LatentPart* part : {&in.window, &in.own}) {
    if (!part->key_BMP.defined()) continue;
    tensors.push_back(part->key_BMP);
    if (!part->scale_BM1.defined()) {
      tensors.push_back(part->content_BMR);
    } else if (!in_eight_bits(*part, query.device())) {
      return false;
    }
  }
  const std::array tables{
      in.query_table.cos, in.query_table.sin, in.key_table.cos, in.key_table.sin};
  return takes_rope(tensors, tables);
}

/// `part` with dense channels: what the parameters point into.
LatentPart dense_part(const LatentPart& part) {
  if (!part.key_BMP.defined()) return {};
  return {dense_channels(part.content_BMR), dense_channels(part.key_BMP), part.scale_BM1};
}

LatentPartParams params_of(const LatentPart& part) {
  if (!part.key_BMP.defined()) return {};
  LatentPartParams params{.content = part.content_BMR.const_data_ptr(),
                          .content_batch_stride = part.content_BMR.stride(0),
                          .content_token_stride = part.content_BMR.stride(1),
                          .key = part.key_BMP.const_data_ptr(),
                          .key_batch_stride = part.key_BMP.stride(0),
                          .key_token_stride = part.key_BMP.stride(1),
                          .tokens = part.key_BMP.size(1)};
  if (part.scale_BM1.defined()) {
    params.scale = part.scale_BM1.const_data_ptr();
    params.scale_batch_stride = part.scale_BM1.stride(0);
    params.scale_token_stride = part.scale_BM1.stride(1);
  }
  return params;
}

RotatedLatents empty_outputs(const at::Tensor& query, const LatentRows& in) {
  const at::Tensor &content = in.own.content_BMR, &key = in.own.key_BMP;
  const int64_t rows = in.window_tokens() + key.size(1);
  return {at::empty(query.sizes(), query.options()),
          at::empty({key.size(0), rows, content.size(2) + key.size(2)}, key.options())};
}

RotatedLatents forward_fused(const at::Tensor& query_BLNK, const LatentRows& in) {
  const at::Tensor query = dense_channels(query_BLNK);
  const LatentPart window = dense_part(in.window), own = dense_part(in.own);
  const RopeTable of_query{in.query_table.cos.contiguous(), in.query_table.sin.contiguous()};
  const RopeTable of_key{in.key_table.cos.contiguous(), in.key_table.sin.contiguous()};
  RotatedLatents out = empty_outputs(query_BLNK, in);
  run_fused(
      query,
      rope_latents_cpu,
      &cuda::KernelTable::rope_latents,
      {.query = rope_params(query, of_query, out.query_BLNK, in.first_channel, /*inverse=*/false),
       .window = params_of(window),
       .own = params_of(own),
       .cos = of_key.cos.const_data_ptr(),
       .sin = of_key.sin.const_data_ptr(),
       .rows = out.rows_BMQ.mutable_data_ptr(),
       .R = own.content_BMR.size(2),
       .num_pairs = of_key.cos.size(1)});
  return out;
}

RotatedLatents forward_any(const at::Tensor& query, const LatentRows& in) {
  RECORD_FUNCTION(kKernelRecord,
                  reading({query,
                           in.window.content_BMR,
                           in.window.key_BMP,
                           in.window.scale_BM1,
                           in.own.content_BMR,
                           in.own.key_BMP,
                           in.query_table.cos,
                           in.query_table.sin,
                           in.key_table.cos,
                           in.key_table.sin}));
  if (wants_sizes_only(query)) return empty_outputs(query, in);
  if (one_pass(query, in)) return forward_fused(query, in);
  return rope_latents_reference(
      query, in.query_table, in.first_channel, in.window, in.own, in.key_table);
}

// What is given to autograd: the query, contents and keys, of which those of the window may be
// missing. The transpose of a rotation is the rotation by -angle.
struct RopeLatents : torch::autograd::Function<RopeLatents> {
  static variable_list forward(AutogradContext* ctx,
                               const at::Tensor& query,
                               const at::Tensor& content,
                               const at::Tensor& /*key*/,
                               const std::optional<at::Tensor>& window_content,
                               const std::optional<at::Tensor>& /*window_key*/,
                               const LatentRows& in) {
    const RotatedLatents out = forward_any(query, in);
    ctx->save_for_backward(
        {in.query_table.cos, in.query_table.sin, in.key_table.cos, in.key_table.sin});
    ctx->saved_data["first_channel"] = in.first_channel;
    ctx->saved_data["window_tokens"] = in.window_tokens();
    ctx->saved_data["latent"] = content.size(2);
    ctx->saved_data["to_window"] = window_content.has_value();
    return {out.query_BLNK, out.rows_BMQ};
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list s = ctx->get_saved_variables();
    const auto saved = [&](const char* name) { return ctx->saved_data[name].toInt(); };
    const int64_t window = saved("window_tokens"), latent = saved("latent");
    const at::Tensor& of_rows = grads[1];
    const int64_t own = of_rows.size(1) - window;
    const auto content = [&](int64_t begin, int64_t count) {
      return of_rows.narrow(1, begin, count).narrow(2, 0, latent);
    };
    const auto key = [&](int64_t begin, int64_t count) {
      const at::Tensor rotated =
          of_rows.narrow(1, begin, count).narrow(2, latent, of_rows.size(2) - latent);
      const RopeTable table = RopeTable{s[2], s[3]}.rows(begin, count);
      return rope_gradient(rotated.unsqueeze(2), table, 0).squeeze(2);
    };
    variable_list result{rope_gradient(grads[0], {s[0], s[1]}, saved("first_channel")),
                         content(window, own),
                         key(window, own),
                         {},
                         {},
                         {}};
    if (ctx->saved_data["to_window"].toBool()) {
      if (ctx->needs_input_grad(3)) result[3] = content(0, window);
      if (ctx->needs_input_grad(4)) result[4] = key(0, window);
    }
    return result;
  }
};

void check_part(const at::Tensor& query_BLNK, const LatentPart& part, int64_t latent, int64_t key) {
  TORCH_CHECK(part.content_BMR.dim() == 3 && part.key_BMP.dim() == 3 &&
                  part.content_BMR.size(0) == query_BLNK.size(0) &&
                  part.key_BMP.size(0) == query_BLNK.size(0) &&
                  part.content_BMR.size(1) == part.key_BMP.size(1) &&
                  part.content_BMR.size(2) == latent && part.key_BMP.size(2) == key,
              "rope_latents: contents [B, M, ",
              latent,
              "] and keys [B, M, ",
              key,
              "] expected, got ",
              part.content_BMR.sizes(),
              " and ",
              part.key_BMP.sizes());
  const std::array<int64_t, 3> sizes_BM1{part.key_BMP.size(0), part.key_BMP.size(1), 1};
  TORCH_CHECK(!part.scale_BM1.defined() || part.scale_BM1.sizes() == sizes_BM1,
              "rope_latents: a scale [B, M, 1] expected for keys ",
              part.key_BMP.sizes(),
              ", got ",
              part.scale_BM1.sizes());
}

}  // namespace

RotatedLatents rope_latents(const at::Tensor& query_BLNK,
                            const RopeTable& query_table,
                            int64_t first_channel,
                            const LatentPart& window,
                            const LatentPart& own,
                            const RopeTable& key_table) {
  check_rope("rope_latents", query_BLNK, query_table, first_channel);
  TORCH_CHECK(key_table.cos.dim() == 2 && key_table.sin.sizes() == key_table.cos.sizes() &&
                  own.content_BMR.dim() == 3 && !own.scale_BM1.defined(),
              "rope_latents: a table [M, num_pairs] of keys and own contents [B, M, R] without a "
              "scale expected, got ",
              key_table.cos.sizes(),
              " and ",
              own.content_BMR.sizes());
  const LatentRows in{query_table, first_channel, window, own, key_table};
  const int64_t latent = own.content_BMR.size(-1), key = 2 * key_table.cos.size(1);
  check_part(query_BLNK, own, latent, key);
  if (window.key_BMP.defined()) check_part(query_BLNK, window, latent, key);
  TORCH_CHECK(in.window_tokens() + own.key_BMP.size(1) == key_table.cos.size(0),
              "rope_latents: a table of as many rows as tokens expected, got ",
              key_table.cos.size(0),
              " for ",
              in.window_tokens(),
              " and ",
              own.key_BMP.size(1));
  const bool to_window = window.key_BMP.defined() && !window.scale_BM1.defined();
  std::optional<at::Tensor> window_content, window_key;
  if (to_window) window_content = window.content_BMR, window_key = window.key_BMP;
  if (wants_gradient(query_BLNK, own.content_BMR, own.key_BMP) ||
      (to_window && wants_gradient(*window_content, *window_key))) {
    const variable_list out = RopeLatents::apply(
        query_BLNK, own.content_BMR, own.key_BMP, window_content, window_key, in);
    return {out[0], out[1]};
  }
  return forward_any(query_BLNK, in);
}

RotatedLatents rope_latents_reference(const at::Tensor& query_BLNK,
                                      const RopeTable& query_table,
                                      int64_t first_channel,
                                      const LatentPart& window,
                                      const LatentPart& own,
                                      const RopeTable& key_table) {
  at::Tensor content = own.content_BMR, key = own.key_BMP;
  if (window.key_BMP.defined()) {
    content = at::cat({content_of(window, content.scalar_type()), content}, 1);
    key = at::cat({window.key_BMP, key}, 1);
  }
  const at::Tensor rotated = apply_rope_reference(key.unsqueeze(2), key_table).squeeze(2);
  return {apply_rope_reference(query_BLNK, query_table, first_channel),
          at::cat({content, rotated.to(content.scalar_type())}, 2)};
}

}  // namespace vmla::kernels
