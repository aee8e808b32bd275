#include "kernels/rms_norm/rms_norm.h"
#include "kernels/rope_3d/rope_latents.h"
#include "model/network/kept_tensor.h"
#include "model/network/projection.h"
#include "model/network/self_attention.h"
#include "model/network/sequence_exchange.h"
#include "model/weights/matrix_order.h"

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

/// What the projections that narrow x give, before their norms. The latent and the rope key that
/// all heads share are what is cached; the query is undefined with kv_only.
struct Down {
  at::Tensor query, latent, rope_key;
};

/// Queries are x's tokens from `begin` on. Where weights are kept over passes, all three are one
/// product.
Down project_down(const MlaAttentionWeights& w,
                  const at::Tensor& x_BLD,
                  int64_t begin,
                  const SelfAttentionArgs& args) {
  const LayerDims& d = args.dims;
  if (joins_projections(args, d.q_rank + d.kv_rank + d.rope, w.q_a_proj) && begin == 0) {
    const at::Tensor weight = kept_or_made(&args.kept.derived->down, [&] {
      return laid_for_passes(at::cat({w.q_a_proj, w.kv_a_proj}, 0));
    });
    at::Tensor bias;
    if (w.kv_a_bias.defined()) {
      bias = kept_or_made(&args.kept.derived->down_bias, [&] {
        return at::constant_pad_nd(w.kv_a_bias, {w.q_a_proj.size(0), 0});
      });
    }
    const auto parts =
        project(x_BLD, weight, bias).split_with_sizes({d.q_rank, d.kv_rank, d.rope}, 2);
    return {parts[0], parts[1], parts[2]};
  }
  const auto parts =
      project(x_BLD, w.kv_a_proj, w.kv_a_bias).split_with_sizes({d.kv_rank, d.rope}, 2);
  if (args.kv_only) return {{}, parts[0], parts[1]};
  const at::Tensor queries = x_BLD.narrow(1, begin, x_BLD.size(1) - begin);
  return {project(queries, w.q_a_proj), parts[0], parts[1]};
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
  if (args.kept.derived == nullptr) return expansion_weight(kv_b_proj, args.dims);
  return kept_or_made(&args.kept.derived->expansion, [&] {
    const at::Tensor weight = expansion_weight(kv_b_proj, args.dims);
    return args.kept.exact ? weight : laid_for_passes(weight);
  });
}

/// Keys and values of all rows. Where `kept` has them but for the own rows, `rows_BMQ` is those.
at::Tensor expand(const at::Tensor& rows_BMQ, const at::Tensor& weight, KeptWindow* kept) {
  if (kept == nullptr || !kept->expanded_BMQ.defined()) {
    at::Tensor expanded_BMQ = project(rows_BMQ, weight);
    if (kept != nullptr) kept->expanded_BMQ = expanded_BMQ;
    return expanded_BMQ;
  }
  const int64_t own = rows_BMQ.size(1), all = kept->expanded_BMQ.size(1);
  at::Tensor place = kept->expanded_BMQ.narrow(1, all - own, own);
  if (rows_BMQ.size(0) == 1) {
    at::Tensor rows = place[0];
    at::mm_out(rows, rows_BMQ[0], weight.t());
  } else {
    place.copy_(project(rows_BMQ, weight));
  }
  return kept->expanded_BMQ;
}

at::Tensor attend_expanded(const MlaAttentionWeights& w,
                           const at::Tensor& query_BLNK,
                           const at::Tensor& rows_BMQ,
                           const SelfAttentionArgs& args,
                           double scale) {
  const LayerDims& d = args.dims;
  const at::Tensor expanded =
      expand(rows_BMQ, kept_expansion_weight(w.kv_b_proj, args), args.kept.window);
  const auto parts =
      expanded.split_with_sizes({d.num_heads * (d.nope + d.rope), d.num_heads * d.v_head}, 2);
  const at::Tensor key_BMNK = parts[0].unflatten(2, {d.num_heads, -1});
  const at::Tensor value_BMNV = parts[1].unflatten(2, {d.num_heads, -1});
  const auto& segments = args.only_output ? args.plan.output_segments : args.plan.segments;
  return kernels::segmented_attention(
             query_BLNK, key_BMNK, value_BMNV, segments, scale, args.kept_attention)
      .out_BLNV;
}

at::Tensor attend_absorbed(const MlaAttentionWeights& w,
                           const at::Tensor& query_BLNK,
                           const at::Tensor& rows_BMQ,
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
  const auto over_heads = [&](const at::Tensor& x) {
    return x.unsqueeze(2).expand({-1, -1, d.num_heads, -1});
  };
  const auto& segments = args.only_output ? args.plan.output_segments : args.plan.segments;
  const at::Tensor out_BLNR =
      kernels::segmented_attention(query_all,
                                   over_heads(rows_BMQ),
                                   over_heads(rows_BMQ.narrow(2, 0, d.kv_rank)),
                                   segments,
                                   scale,
                                   args.kept_attention)
          .out_BLNV;
  return at::matmul(out_BLNR.transpose(1, 2), up[1].transpose(1, 2)).transpose(1, 2);
}

}  // namespace

LatentForm cheaper_form(const LayerDims& d,
                        int64_t query_tokens,
                        int64_t key_tokens,
                        int64_t rebuilt) {
  const double queries = static_cast<double>(query_tokens), keys = static_cast<double>(key_tokens);
  const double fold = static_cast<double>(d.kv_rank * (d.nope + d.v_head));
  const double expanded = static_cast<double>(rebuilt) * fold +
                          queries * keys * static_cast<double>(d.nope + d.rope + d.v_head);
  const double absorbed =
      queries * fold + queries * keys * static_cast<double>(2 * d.kv_rank + d.rope);
  // Absorbing multiplies by head, in small products between which results are copied. Where the
  // window is kept it must save more than that costs: at width 64, with as many multiply-adds on
  // both sides, the expanded form took a twelfth less of a chunk's time.
  const double copies = rebuilt < key_tokens ? 1.25 : 1.0;
  return copies * absorbed < expanded ? LatentForm::kAbsorbed : LatentForm::kExpanded;
}

SelfAttentionOut mla_attention(const MlaAttentionWeights& w,
                               const at::Tensor& x_BLD,
                               const SelfAttentionArgs& args) {
  const LayerDims& d = args.dims;
  const int64_t begin = args.only_output ? args.plan.output_token_begin() : 0;
  const int64_t count = x_BLD.size(1) - begin;
  const Down down = project_down(w, x_BLD, begin, args);
  SelfAttentionOut result{.out_BLD = {}, .kv = {.content = {}, .key = down.rope_key}};
  at::Tensor query_latent;
  if (args.kv_only) {
    result.kv.content = kernels::rms_norm(down.latent, w.kv_a_layernorm, args.latent_norm_eps);
  } else {
    std::tie(result.kv.content, query_latent) = kernels::rms_norm_pair(
        down.latent, w.kv_a_layernorm, down.query, w.q_a_layernorm, args.latent_norm_eps);
  }
  if (args.sequence) result.kv = gather_latents(result.kv, args);
  if (args.kv_only) return result;
  TORCH_CHECK(args.plan.key_copies.empty() || !args.window.key.defined(),
              "a plan with a window reads all keys at one time");
  const int64_t own = result.kv.key.size(1), keys = args.plan.key_tokens();
  const LatentForm form =
      args.form == LatentForm::kCheaper
          ? cheaper_form(d, args.plan.query_tokens(), keys, args.kept.window ? own : keys)
          : args.form;
  const bool window_is_kept =
      form == LatentForm::kExpanded && args.kept.window && args.kept.window->expanded_BMQ.defined();
  TORCH_CHECK(!window_is_kept || args.kept.window->expanded_BMQ.size(1) == keys,
              "a window of another chunk is kept, whose tokens are not ",
              keys);
  const auto& tables = args.plan.layer_tables(args.layer);
  // Keys were cached before rotation: positions are ranks in the present window.
  const auto [query_BLNK, rows_BMQ] = kernels::rope_latents(
      project(query_latent, w.q_b_proj, w.q_b_bias).unflatten(2, {d.num_heads, -1}),
      tables.query.rows(begin, count),
      d.nope,
      window_is_kept ? kernels::LatentPart{}
                     : kernels::LatentPart{args.window.content, args.window.key, args.window.scale},
      {append_key_copies(args.plan, result.kv.content),
       append_key_copies(args.plan, result.kv.key)},
      window_is_kept ? tables.key.rows(keys - own, own) : tables.key);
  const double scale = 1.0 / std::sqrt(static_cast<double>(d.nope + d.rope));
  const auto attend = form == LatentForm::kExpanded ? attend_expanded : attend_absorbed;
  const at::Tensor out_BLNV = attend(w, query_BLNK, rows_BMQ, args, scale);
  result.out_BLD = project(out_BLNV.flatten(2), w.o_weight, w.o_bias);
  return result;
}

}  // namespace vmla::model
