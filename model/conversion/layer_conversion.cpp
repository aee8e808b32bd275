#include "model/conversion/layer_conversion.h"

#include "model/conversion/rope_key.h"
#include "model/weights/weights.h"

#include <ATen/ATen.h>

#include <cmath>
#include <vector>

namespace vmla::model {
namespace {

/// E[rms(W x + b)] for x of zero mean and unit covariance: root of the mean squared row norm.
double typical_rms(const at::Tensor& weight, const at::Tensor& bias = {}) {
  double sum = weight.square().sum().item<double>();
  if (bias.defined()) sum += bias.square().sum().item<double>();
  return std::sqrt(sum / static_cast<double>(weight.size(0)));
}

/// rms of a latent down x; 1 for a latent that is zero (its up-projection is zero too).
double latent_rms(const at::Tensor& down) {
  const double rms = typical_rms(down);
  return rms > 0 ? rms : 1.0;
}

/// The share of the bias in the energy of W x + b, for x as in typical_rms.
double bias_share(const at::Tensor& weight, const at::Tensor& bias) {
  const double lost = bias.square().sum().item<double>();
  return lost > 0 ? lost / (lost + weight.square().sum().item<double>()) : 0.0;
}

/// A dense layer's projections in fp64. The gains of Wan's norms are multiplied in; the norms'
/// division by the rms is not, so typical scales come from the raw projections.
struct DenseProjections {
  at::Tensor key, key_bias, query, query_bias, value;
  double key_rms, query_rms;
};

DenseProjections dense_projections(const LayerToConvert& from) {
  const auto get = [&](const char* name) {
    return from.dense.at(from.prefix() + name).to(at::kDouble);
  };
  const at::Tensor gain_k = get("norm_k.weight"), gain_q = get("norm_q.weight");
  return {.key = gain_k.unsqueeze(1) * get("k.weight"),
          .key_bias = gain_k * get("k.bias"),
          .query = gain_q.unsqueeze(1) * get("q.weight"),
          .query_bias = gain_q * get("q.bias"),
          .value = get("v.weight"),
          .key_rms = typical_rms(get("k.weight"), get("k.bias")),
          .query_rms = typical_rms(get("q.weight"), get("q.bias"))};
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

ConvertedLayer convert_by_factors(const LayerToConvert& from, Factorise factorise) {
  const LayerDims d = layer_dims(from.mla, from.layer);
  const HeadRows rows = head_rows(from.mla, from.layer);
  const DenseProjections dense = dense_projections(from);

  const at::Tensor joint = at::cat({dense.key.index_select(0, rows.content), dense.value}, 0);
  const LowRank kv = factorise(joint, d.kv_rank);
  const LowRank q = factorise(dense.query, d.q_rank);
  const SharedRopeKey rope = shared_rope_key(
      dense.key.index_select(0, rows.rope), dense.key_bias.index_select(0, rows.rope), d.num_heads);

  ConvertedLayer out;
  out.report = {.layer = from.layer,
                .kv_rank = d.kv_rank,
                .q_rank = d.q_rank,
                .kv_energy_kept = kv.energy_kept,
                .kv_error = (joint - kv.up.matmul(kv.down)).norm().item<double>(),
                .kv_optimal_error = kv.optimal_error,
                .q_energy_kept = q.energy_kept,
                .rope_energy_lost = rope.energy_lost,
                .query_bias_lost = d.bias ? 0.0 : bias_share(dense.query, dense.query_bias),
                .rope_key_bias_lost = d.bias ? 0.0 : bias_share(rope.weight, rope.bias),
                .key_scale = latent_rms(kv.down) / dense.key_rms,
                .value_scale = latent_rms(kv.down),
                .query_scale = latent_rms(q.down) / dense.query_rms};

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
