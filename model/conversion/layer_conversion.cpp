#include "model/conversion/layer_conversion.h"

#include "model/conversion/rope_key.h"
#include "model/weights/weights.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

namespace vmla::model {
namespace {

/// E[rms(W x + b)], nearly: root of the mean squared row. `moment` is that of (x, 1); undefined: x
/// has zero mean and unit covariance.
double typical_rms(const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& moment) {
  double sum = 0;
  if (!moment.defined()) {
    sum = sum_of_squares(weight) + (bias.defined() ? sum_of_squares(bias) : 0.0);
  } else if (bias.defined()) {
    sum = energy_of(at::cat({weight, bias.unsqueeze(1)}, 1), moment);
  } else {
    sum = energy_of(weight, input_moment(moment));
  }
  return std::sqrt(sum / static_cast<double>(weight.size(0)));
}

/// rms of a latent down x; 1 for a latent that is zero (its up-projection is zero too).
double latent_rms(const at::Tensor& down, const at::Tensor& moment) {
  const double rms = typical_rms(down, {}, moment);
  return rms > 0 ? rms : 1.0;
}

/// The share of the bias in the energy of W x + b, for x as in typical_rms.
double bias_share(const at::Tensor& weight, const at::Tensor& bias) {
  const double lost = sum_of_squares(bias);
  return lost > 0 ? lost / (lost + sum_of_squares(weight)) : 0.0;
}

at::Tensor keys_moment(const LayerToConvert& from) {
  return from.moments ? from.moments->keys : at::Tensor();
}

at::Tensor queries_moment(const LayerToConvert& from) {
  return from.moments ? from.moments->queries : at::Tensor();
}

/// Rows [N K, ...] of a query projection as latent attention has them: of each head first the
/// content rows, then the rope rows, turned for the shared key.
at::Tensor query_rows(const at::Tensor& all,
                      const HeadRows& rows,
                      const SharedRopeKey& rope,
                      int64_t num_heads) {
  const auto per_head = [&](const at::Tensor& t) { return t.unflatten(0, {num_heads, -1}); };
  const at::Tensor content = per_head(all.index_select(0, rows.content));
  const at::Tensor turned =
      per_head(turn_query_rows(all.index_select(0, rows.rope), rope, num_heads));
  return at::cat({content, turned}, 1);
}

}  // namespace

std::string LayerToConvert::prefix() const {
  return unit_prefix(layer) + "self_attn.";
}

HeadRows head_rows(const ModelConfig& mla, int64_t layer) {
  const int64_t head_dim = mla.head_dim();
  std::vector<int64_t> content, rope;  // channels of a head
  std::vector<bool> is_rope(static_cast<size_t>(head_dim), false);
  for (const int64_t pair : rope_pairs(mla, layer)) {
    for (const int64_t channel : {2 * pair, 2 * pair + 1}) {
      rope.push_back(channel);
      is_rope[static_cast<size_t>(channel)] = true;
    }
  }
  for (int64_t channel = 0; channel < head_dim; ++channel) {
    if (!is_rope[static_cast<size_t>(channel)]) content.push_back(channel);
  }
  const auto rows_of = [&](const std::vector<int64_t>& channels) {
    std::vector<int64_t> rows;
    for (int64_t head = 0; head < mla.num_heads; ++head) {
      for (const int64_t channel : channels) rows.push_back(head * head_dim + channel);
    }
    return at::tensor(rows, at::kLong);
  };
  return {rows_of(content), rows_of(rope)};
}

at::Tensor input_moment(const at::Tensor& with_one) {
  const int64_t width = with_one.size(0) - 1;
  return with_one.narrow(0, 0, width).narrow(1, 0, width);
}

DenseLayer dense_layer(const LayerToConvert& from) {
  const auto get = [&](const char* name) {
    return from.dense.at(from.prefix() + name).to(at::kDouble);
  };
  const at::Tensor key = get("k.weight"), key_bias = get("k.bias"), gain_k = get("norm_k.weight");
  const at::Tensor query = get("q.weight"), query_bias = get("q.bias"),
                   gain_q = get("norm_q.weight");
  const at::Tensor& value = from.dense.at(from.prefix() + "v.weight");
  DenseLayer layer{.key = gain_k.unsqueeze(1) * key,
                   .key_bias = gain_k * key_bias,
                   .query = gain_q.unsqueeze(1) * query,
                   .query_bias = gain_q * query_bias,
                   .value = {},
                   .key_rms = typical_rms(key, key_bias, keys_moment(from)),
                   .query_rms = typical_rms(query, query_bias, queries_moment(from)),
                   .rows = head_rows(from.mla, from.layer),
                   .joint = {}};
  const int64_t content = layer.rows.content.size(0), values = value.size(0);
  layer.joint = at::empty({content + values, key.size(1)}, at::kDouble);
  at::Tensor content_rows = layer.joint.narrow(0, 0, content);
  at::index_select_out(content_rows, layer.key, 0, layer.rows.content);
  layer.value = layer.joint.narrow(0, content, values).copy_(value);
  return layer;
}

SharedRopeKey rope_key_of(const LayerToConvert& from,
                          const DenseLayer& dense,
                          HeadMix mix,
                          bool calibrated) {
  return shared_rope_key(dense.key.index_select(0, dense.rows.rope),
                         dense.key_bias.index_select(0, dense.rows.rope),
                         from.mla.num_heads,
                         mix,
                         calibrated ? keys_moment(from) : at::Tensor());
}

LowRank plain_query(const LayerToConvert& from, const DenseLayer& dense) {
  if (from.shared && from.shared->plain_query) return *from.shared->plain_query;
  LowRank q = truncated_svd(dense.query, layer_dims(from.mla, from.layer).q_rank);
  if (from.shared) from.shared->plain_query = q;
  return q;
}

LowRank whitened_query(const LayerToConvert& from, const DenseLayer& dense) {
  if (from.shared && from.shared->whitened_query) return *from.shared->whitened_query;
  LowRank q = whitened_svd(
      dense.query, input_moment(from.moments->queries), layer_dims(from.mla, from.layer).q_rank);
  if (from.shared) from.shared->whitened_query = q;
  return q;
}

LowRankObjective balanced_objective(const LayerToConvert& from, const DenseLayer& dense) {
  const int64_t content = dense.rows.content.size(0);
  const at::Tensor weight = at::ones({dense.joint.size(0), 1}, at::kDouble);
  for (const auto& [begin, count] :
       {std::pair<int64_t, int64_t>{0, content}, {content, dense.value.size(0)}}) {
    if (count == 0) continue;
    const double rms = typical_rms(dense.joint.narrow(0, begin, count), {}, from.moments->keys);
    if (rms > 0) weight.narrow(0, begin, count).fill_(1.0 / rms);
  }
  return {.row_weight = weight, .moment = input_moment(from.moments->keys)};
}

LowRank balanced_svd(const LayerToConvert& from,
                     const DenseLayer& dense,
                     const LowRankObjective& objective) {
  LowRank kv = whitened_svd(objective.row_weight * dense.joint,
                            objective.moment,
                            layer_dims(from.mla, from.layer).kv_rank);
  kv.up = kv.up / objective.row_weight;
  return kv;
}

namespace {

/// ||matrix - up down||², on inputs of `moment` where it is defined. By blocks of rows, so that no
/// second matrix is written.
double missed_energy(const at::Tensor& matrix, const LowRank& factors, const at::Tensor& moment) {
  constexpr int64_t kRows = 256;
  double sum = 0;
  for (int64_t row = 0; row < matrix.size(0); row += kRows) {
    const int64_t count = std::min(kRows, matrix.size(0) - row);
    const at::Tensor missed = at::addmm(
        matrix.narrow(0, row, count), factors.up.narrow(0, row, count), factors.down, 1, -1);
    sum += moment.defined() ? energy_of(missed, moment) : sum_of_squares(missed);
  }
  return sum;
}

/// What the layer kept and lost, with the scale constants.
InitLayerReport layer_report(const LayerToConvert& from,
                             const DenseLayer& dense,
                             const LayerFactors& factors,
                             const Refinement& refined) {
  const LayerDims d = layer_dims(from.mla, from.layer);
  const LowRank& kv = refined.factors;
  const LowRank& q = factors.q;
  const SharedRopeKey& rope = factors.rope;
  const double kv_rms = latent_rms(kv.down, keys_moment(from));
  InitLayerReport report = {
      .layer = from.layer,
      .kv_rank = d.kv_rank,
      .q_rank = d.q_rank,
      .kv_energy_kept = kv.energy_kept,
      .kv_error = std::sqrt(missed_energy(dense.joint, kv, {})),
      .kv_optimal_error = kv.optimal_error,
      .q_energy_kept = q.energy_kept,
      .rope_energy_lost = rope.energy_lost,
      .query_bias_lost = d.bias ? 0.0 : bias_share(dense.query, dense.query_bias),
      .rope_key_bias_lost = d.bias ? 0.0 : bias_share(rope.weight, rope.bias),
      .key_scale = kv_rms / dense.key_rms,
      .value_scale = kv_rms,
      .query_scale = latent_rms(q.down, queries_moment(from)) / dense.query_rms};
  if (from.moments) {
    const at::Tensor moment = input_moment(from.moments->keys);
    const double all = energy_of(dense.joint, moment);
    report.kv_activation_error =
        all > 0 ? std::sqrt(std::max(0.0, missed_energy(dense.joint, kv, moment)) / all) : 0.0;
  }
  if (!refined.errors.empty()) {
    report.refined_from = refined.errors.front();
    report.refined_to = refined.errors.back();
  }
  return report;
}

}  // namespace

ConvertedLayer assemble_layer(const LayerToConvert& from,
                              const DenseLayer& dense,
                              const LayerFactors& factors) {
  const LayerDims d = layer_dims(from.mla, from.layer);
  const HeadRows& rows = dense.rows;
  const LowRank& q = factors.q;
  const SharedRopeKey& rope = factors.rope;
  const Refinement refined = refine(dense.joint, factors.kv, factors.objective, from.refine_steps);
  const LowRank& kv = refined.factors;

  ConvertedLayer out;
  out.report = layer_report(from, dense, factors, refined);

  const int64_t content = d.num_heads * d.nope;
  const auto per_head = [&](const at::Tensor& t) { return t.unflatten(0, {d.num_heads, -1}); };
  const at::Tensor up_key = per_head(kv.up.narrow(0, 0, content) * out.report.key_scale);
  const at::Tensor up_value =
      per_head(kv.up.narrow(0, content, d.num_heads * d.v_head) * out.report.value_scale);
  const auto queries = [&](const at::Tensor& all, double scale) {
    return (query_rows(all, rows, rope, d.num_heads) * scale).flatten(0, 1);
  };

  auto& tensors = out.tensors;
  tensors["q_a_proj.weight"] = q.down;
  tensors["q_a_layernorm.weight"] = at::ones({d.q_rank}, at::kDouble);
  tensors["q_b_proj.weight"] = queries(q.up, out.report.query_scale);
  tensors["kv_a_proj_with_mqa.weight"] = at::cat({kv.down, rope.weight / dense.key_rms}, 0);
  if (d.bias) {
    tensors["q_b_proj.bias"] =
        queries(dense.query_bias.unsqueeze(1), 1.0 / dense.query_rms).squeeze(1);
    tensors["kv_a_proj_with_mqa.bias"] =
        at::cat({at::zeros({d.kv_rank}, at::kDouble), rope.bias / dense.key_rms}, 0);
  }
  tensors["kv_a_layernorm.weight"] = at::ones({d.kv_rank}, at::kDouble);
  tensors["kv_b_proj.weight"] = at::cat({up_key, up_value}, 1).flatten(0, 1);
  // b_v adds the same vector to every output: attention weights sum to 1.
  const auto get = [&](const char* name) {
    return from.dense.at(from.prefix() + name).to(at::kDouble);
  };
  tensors["o.weight"] = get("o.weight");
  tensors["o.bias"] = get("o.bias") + get("o.weight").matmul(get("v.bias"));
  return out;
}

}  // namespace vmla::model
