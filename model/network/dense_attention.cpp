#include "kernels/rms_norm/rms_norm.h"
#include "model/network/kept_tensor.h"
#include "model/network/projection.h"
#include "model/network/self_attention.h"
#include "model/network/sequence_exchange.h"
#include "model/weights/matrix_order.h"

#include <ATen/ATen.h>

namespace vmla::model {
namespace {

at::Tensor split_heads(const at::Tensor& x_BLD, int64_t num_heads) {
  return x_BLD.unflatten(-1, {num_heads, -1});
}

/// Own tokens of all heads -> all tokens of the own heads, in place. The query may be undefined.
void exchange_heads(at::Tensor& key_BLD,
                    at::Tensor& value_BLD,
                    at::Tensor& query_BLD,
                    int64_t heads,
                    int64_t slice,
                    SequenceGroup& ranks) {
  std::vector<at::Tensor> parts = {split_heads(key_BLD, heads), split_heads(value_BLD, heads)};
  if (query_BLD.defined()) parts.push_back(split_heads(query_BLD, heads));
  parts = tokens_to_heads(parts, slice, ranks);
  key_BLD = parts[0].flatten(2);
  value_BLD = parts[1].flatten(2);
  if (query_BLD.defined()) query_BLD = parts[2].flatten(2);
}

struct Projected {
  at::Tensor query, key, value;  // before their norms; the query is undefined with kv_only
};

/// Queries are x's tokens from `begin` on. Where weights are kept over passes, all three are one
/// product.
Projected project_all(const DenseAttentionWeights& w,
                      const at::Tensor& x_BLD,
                      int64_t begin,
                      const SelfAttentionArgs& args) {
  if (joins_projections(args, 3 * args.dims.dim, w.q_weight) && begin == 0) {
    DerivedWeights& kept = *args.kept.derived;
    const at::Tensor weight = kept_or_made(&kept.down, [&] {
      return laid_for_passes(at::cat({w.q_weight, w.k_weight, w.v_weight}, 0));
    });
    const at::Tensor bias =
        kept_or_made(&kept.down_bias, [&] { return at::cat({w.q_bias, w.k_bias, w.v_bias}, 0); });
    const auto parts = project(x_BLD, weight, bias).chunk(3, 2);
    return {parts[0], parts[1], parts[2]};
  }
  Projected result{.query = {},
                   .key = project(x_BLD, w.k_weight, w.k_bias),
                   .value = project(x_BLD, w.v_weight, w.v_bias)};
  if (args.kv_only) return result;
  const at::Tensor queries = x_BLD.narrow(1, begin, x_BLD.size(1) - begin);
  result.query = project(queries, w.q_weight, w.q_bias);
  return result;
}

}  // namespace

bool joins_projections(const SelfAttentionArgs& args, int64_t width, const at::Tensor& weight) {
  constexpr int64_t kMost = int64_t{16} << 20;
  const int64_t bytes = width * args.dims.dim * static_cast<int64_t>(weight.element_size());
  return args.kept.derived != nullptr && !args.kept.exact && !args.kv_only && bytes <= kMost;
}

SelfAttentionOut dense_attention(const DenseAttentionWeights& w,
                                 const at::Tensor& x_BLD,
                                 const SelfAttentionArgs& args) {
  const int64_t frames = args.plan.plan.sequence_frames();
  const int64_t slice = x_BLD.size(1) / frames;  // tokens of a frame that are here
  auto [query_BLD, key_BLD, value_BLD] =
      project_all(w, x_BLD, args.only_output ? args.plan.plan.output_begin * slice : 0, args);
  if (args.kv_only) {
    key_BLD = kernels::rms_norm(key_BLD, w.norm_k_weight, args.eps);
  } else {
    std::tie(key_BLD, query_BLD) =
        kernels::rms_norm_pair(key_BLD, w.norm_k_weight, query_BLD, w.norm_q_weight, args.eps);
  }
  int64_t heads = args.dims.num_heads;
  if (args.exchange_heads) {
    exchange_heads(key_BLD, value_BLD, query_BLD, heads, slice, *args.sequence);
    heads /= args.sequence->size();
  } else if (args.sequence) {
    // Keys and values in one message.
    const at::Tensor both = gather_tokens(at::cat({key_BLD, value_BLD}, 2), frames, *args.sequence);
    key_BLD = both.narrow(2, 0, key_BLD.size(2));
    value_BLD = both.narrow(2, key_BLD.size(2), value_BLD.size(2));
  }
  SelfAttentionOut result{.out_BLD = {}, .kv = {value_BLD, key_BLD}};

  if (args.kv_only) return result;
  const auto& tables = args.plan.layer_tables(args.layer);
  const int64_t begin = args.only_output ? args.plan.output_token_begin() : 0;
  const int64_t count = query_BLD.size(1);
  const at::Tensor query_BLNK =
      kernels::apply_rope(split_heads(query_BLD, heads), tables.query.rows(begin, count));

  at::Tensor key_BMD = key_BLD, value_BMD = value_BLD;
  if (args.window.key.defined()) {
    key_BMD = at::cat({args.window.key, key_BLD}, 1);
    value_BMD = at::cat({args.window.content, value_BLD}, 1);
  }
  const at::Tensor key_BMNK =
      kernels::apply_rope(split_heads(append_key_copies(args.plan, key_BMD), heads), tables.key);
  const double scale = 1.0 / std::sqrt(static_cast<double>(args.dims.head_dim));
  const auto& segments = args.only_output ? args.plan.output_segments : args.plan.segments;
  at::Tensor out_BLNV =
      kernels::segmented_attention(
          query_BLNK, key_BMNK, split_heads(value_BMD, heads), segments, scale, args.kept_attention)
          .out_BLNV;
  if (args.exchange_heads) out_BLNV = heads_to_tokens(out_BLNV, slice, *args.sequence);
  result.out_BLD = project(out_BLNV.flatten(2), w.o_weight, w.o_bias);
  return result;
}

CrossKv cross_attention_kv(const DenseAttentionWeights& w,
                           const at::Tensor& context_BTD,
                           int64_t num_heads,
                           double eps) {
  const at::Tensor key =
      kernels::rms_norm(project(context_BTD, w.k_weight, w.k_bias), w.norm_k_weight, eps);
  return {split_heads(key, num_heads),
          split_heads(project(context_BTD, w.v_weight, w.v_bias), num_heads)};
}

at::Tensor cross_attention(const DenseAttentionWeights& w,
                           const at::Tensor& x_BLD,
                           const CrossKv& kv,
                           int64_t num_heads,
                           double eps,
                           kernels::KeptAttention* kept) {
  const at::Tensor query_BLNK = split_heads(
      kernels::rms_norm(project(x_BLD, w.q_weight, w.q_bias), w.norm_q_weight, eps), num_heads);
  const kernels::AttentionSegment everything{0, x_BLD.size(1), 0, 0, kv.k.size(1)};
  const double scale = 1.0 / std::sqrt(static_cast<double>(query_BLNK.size(3)));
  const at::Tensor out =
      kernels::segmented_attention(query_BLNK, kv.k, kv.v, {everything}, scale, kept).out_BLNV;
  return project(out.flatten(2), w.o_weight, w.o_bias);
}

}  // namespace vmla::model
