#include "kernels/rms_norm/rms_norm.h"
#include "model/network/projection.h"
#include "model/network/self_attention.h"
#include "model/network/sequence_exchange.h"

#include <ATen/ATen.h>

namespace vmla::model {
namespace {

/// Latents and rope keys of all ranks' tokens, in one message of R + P numbers a token.
LayerKv gather_latents(const LayerKv& own, const SelfAttentionArgs& args) {
  const at::Tensor both = gather_tokens(
      at::cat({own.content, own.key}, 2), args.plan.plan.sequence_frames(), *args.sequence);
  const auto parts = both.split_with_sizes({own.content.size(2), own.key.size(2)}, 2);
  return {parts[0], parts[1]};
}

/// The window's latents in `dtype`.
at::Tensor window_latents(const LayerKv& window, at::ScalarType dtype) {
  if (!window.scale.defined()) return window.content;
  return window.content.to(dtype) * window.scale.to(dtype);
}

/// Rope key of every key row (copies included), rotated: [B, M, P].
at::Tensor rotated_rope_key(const SelfAttentionArgs& args, const at::Tensor& rope_key_BMP) {
  const auto& table = args.plan.layer_tables(args.layer).key;
  return kernels::apply_rope(append_key_copies(args.plan, rope_key_BMP).unsqueeze(2), table)
      .squeeze(2);
}

/// Expansion weight in attention layout: [latent | rotated rope key] (R + P) → all heads' keys
/// (nope, then rope), then all heads' values. The identity blocks broadcast the shared rope key to
/// every head, so one matrix product writes K and V where attention reads them, and its backward
/// sums the rope key's gradient over heads.
at::Tensor expansion_weight(const at::Tensor& kv_b_proj, const LayerDims& d) {
  const at::Tensor per_head = kv_b_proj.view({d.num_heads, d.nope + d.v_head, d.kv_rank});
  const auto parts = per_head.split_with_sizes({d.nope, d.v_head}, 1);
  const at::Tensor nope_rows = at::constant_pad_nd(parts[0], {0, d.rope});
  const at::Tensor identity =
      at::constant_pad_nd(at::eye(d.rope, kv_b_proj.options()), {d.kv_rank, 0});
  const at::Tensor key_rows = at::cat({nope_rows, identity.expand({d.num_heads, -1, -1})}, 1);
  const at::Tensor value_rows = at::constant_pad_nd(parts[1], {0, d.rope});
  return at::cat({key_rows.flatten(0, 1), value_rows.flatten(0, 1)}, 0);
}

at::Tensor kept_expansion_weight(const at::Tensor& kv_b_proj, const SelfAttentionArgs& args) {
  if (args.expansion == nullptr) return expansion_weight(kv_b_proj, args.dims);
  if (!args.expansion->defined()) *args.expansion = expansion_weight(kv_b_proj, args.dims);
  return *args.expansion;
}

at::Tensor attend_expanded(const MlaAttentionWeights& w,
                           const at::Tensor& query_BLNK,
                           const at::Tensor& latent_BMR,
                           const at::Tensor& rope_key_BMP,
                           const SelfAttentionArgs& args,
                           double scale) {
  const LayerDims& d = args.dims;
  const at::Tensor latent = append_key_copies(args.plan, latent_BMR);
  const at::Tensor both = at::cat({latent, rope_key_BMP.to(latent.scalar_type())}, 2);
  const at::Tensor expanded = project(both, kept_expansion_weight(w.kv_b_proj, args));
  const auto parts =
      expanded.split_with_sizes({d.num_heads * (d.nope + d.rope), d.num_heads * d.v_head}, 2);
  const at::Tensor key_BMNK = parts[0].unflatten(2, {d.num_heads, -1});
  const at::Tensor value_BMNV = parts[1].unflatten(2, {d.num_heads, -1});
  const auto& segments = args.only_output ? args.plan.output_segments : args.plan.segments;
  return kernels::segmented_attention(query_BLNK, key_BMNK, value_BMNV, segments, scale, args.kept)
      .out_BLNV;
}

at::Tensor attend_absorbed(const MlaAttentionWeights& w,
                           const at::Tensor& query_BLNK,
                           const at::Tensor& latent_BMR,
                           const at::Tensor& rope_key_BMP,
                           const SelfAttentionArgs& args,
                           double scale) {
  const LayerDims& d = args.dims;
  const at::Tensor per_head = w.kv_b_proj.view({d.num_heads, d.nope + d.v_head, d.kv_rank});
  const auto up = per_head.split_with_sizes({d.nope, d.v_head}, 1);
  const auto query = query_BLNK.split_with_sizes({d.nope, d.rope}, 3);
  // q_nope . (W_up_K c) = (W_up_K^T q_nope) . c: the query moves into the latent space, the cache
  // is never expanded.
  const at::Tensor query_latent =
      at::matmul(query[0].transpose(1, 2).to(up[0].scalar_type()), up[0]).transpose(1, 2);
  const at::Tensor query_all = at::cat({query_latent, query[1].to(query_latent.scalar_type())}, 3);
  const at::Tensor latent = append_key_copies(args.plan, latent_BMR);
  const at::Tensor key = at::cat({latent, rope_key_BMP.to(latent.scalar_type())}, 2);
  const auto over_heads = [&](const at::Tensor& x) {
    return x.unsqueeze(2).expand({-1, -1, d.num_heads, -1});
  };
  const auto& segments = args.only_output ? args.plan.output_segments : args.plan.segments;
  const at::Tensor out_BLNR =
      kernels::segmented_attention(
          query_all, over_heads(key), over_heads(latent), segments, scale, args.kept)
          .out_BLNV;
  return at::matmul(out_BLNR.transpose(1, 2), up[1].transpose(1, 2)).transpose(1, 2);
}

}  // namespace

LatentForm cheaper_form(const LayerDims& d, int64_t query_tokens, int64_t key_tokens) {
  const double heads = static_cast<double>(d.num_heads);
  const double queries = static_cast<double>(query_tokens), keys = static_cast<double>(key_tokens);
  const double fold = static_cast<double>(d.kv_rank * (d.nope + d.v_head));
  const double expanded =
      keys * fold + queries * keys * static_cast<double>(d.nope + d.rope + d.v_head);
  const double absorbed =
      queries * fold + queries * keys * static_cast<double>(2 * d.kv_rank + d.rope);
  return heads * absorbed < heads * expanded ? LatentForm::kAbsorbed : LatentForm::kExpanded;
}

SelfAttentionOut mla_attention(const MlaAttentionWeights& w,
                               const at::Tensor& x_BLD,
                               const SelfAttentionArgs& args) {
  const LayerDims& d = args.dims;
  // One projection gives the latent and the rope key that all heads share; both are what is cached.
  const auto down =
      project(x_BLD, w.kv_a_proj, w.kv_a_bias).split_with_sizes({d.kv_rank, d.rope}, 2);
  SelfAttentionOut result{
      .out_BLD = {},
      .kv = {kernels::rms_norm(down[0], w.kv_a_layernorm, args.latent_norm_eps), down[1]}};
  if (args.sequence) result.kv = gather_latents(result.kv, args);

  if (args.kv_only) return result;
  const int64_t begin = args.only_output ? args.plan.output_token_begin() : 0;
  const int64_t count = x_BLD.size(1) - begin;
  const at::Tensor query_latent = kernels::rms_norm(
      project(x_BLD.narrow(1, begin, count), w.q_a_proj), w.q_a_layernorm, args.latent_norm_eps);
  const auto& query_table = args.plan.layer_tables(args.layer).query;
  const at::Tensor query_BLNK = kernels::apply_rope(
      project(query_latent, w.q_b_proj, w.q_b_bias).unflatten(2, {d.num_heads, -1}),
      {query_table.cos.narrow(0, begin, count), query_table.sin.narrow(0, begin, count)},
      d.nope);

  at::Tensor latent_BMR = result.kv.content, rope_key_BMP = result.kv.key;
  if (args.window.key.defined()) {
    latent_BMR = at::cat({window_latents(args.window, latent_BMR.scalar_type()), latent_BMR}, 1);
    rope_key_BMP = at::cat({args.window.key, rope_key_BMP}, 1);
  }
  // Keys were cached before rotation: positions are ranks in the present window.
  rope_key_BMP = rotated_rope_key(args, rope_key_BMP);
  const double scale = 1.0 / std::sqrt(static_cast<double>(d.nope + d.rope));
  const LatentForm form = args.form == LatentForm::kCheaper
                              ? cheaper_form(d, args.plan.query_tokens(), args.plan.key_tokens())
                              : args.form;
  const auto attend = form == LatentForm::kExpanded ? attend_expanded : attend_absorbed;
  const at::Tensor out_BLNV = attend(w, query_BLNK, latent_BMR, rope_key_BMP, args, scale);
  result.out_BLD = project(out_BLNV.flatten(2), w.o_weight, w.o_bias);
  return result;
}

}  // namespace vmla::model
