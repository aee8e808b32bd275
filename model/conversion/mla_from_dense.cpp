#include "model/conversion/mla_from_dense.h"

#include "model/conversion/rope_key.h"
#include "model/io/error.h"
#include "model/weights/weights.h"

#include <ATen/ATen.h>

namespace vmla::model {
namespace {

using Tensors = std::map<std::string, at::Tensor>;

void check_sizes(const ModelConfig& mla, const ModelConfig& dense) {
  const auto same = [](const char* key, int64_t a, int64_t b) {
    if (a != b)
      fail_user(
          "init from dense weights: model.{} is {}, the dense model's is {}: they must be equal",
          key,
          a,
          b);
  };
  if (dense.is_mla())
    fail_user(
        "init from dense weights: the given weights are already MLA, take them without "
        "init.method");
  same("dim", mla.dim, dense.dim);
  same("num_heads", mla.num_heads, dense.num_heads);
  same("num_layers", mla.num_layers, dense.num_layers);
  same("ffn_dim", mla.ffn_dim, dense.ffn_dim);
  same("in_dim", mla.in_dim, dense.in_dim);
  same("out_dim", mla.out_dim, dense.out_dim);
  same("text_dim", mla.text_dim, dense.text_dim);
  same("freq_dim", mla.freq_dim, dense.freq_dim);
}

void check_head_split(const ModelConfig& mla) {
  if (mla.qk_nope_head_dim + mla.qk_rope_head_dim != mla.head_dim() ||
      mla.v_head_dim != mla.head_dim()) {
    fail_user(
        "init.method svd_weight keeps every channel of a dense head: qk_nope_head_dim + "
        "qk_rope_head_dim = {} and v_head_dim = {} must both be the dense head's {}",
        mla.qk_nope_head_dim + mla.qk_rope_head_dim,
        mla.v_head_dim,
        mla.head_dim());
  }
}

at::Tensor tensor64(const Tensors& tensors, const std::string& name) {
  return tensors.at(name).to(at::kDouble);
}

/// Row indices of all heads' channels `channels` in a [N K, ...] matrix.
at::Tensor head_rows(int64_t num_heads, int64_t head_dim, const std::vector<int64_t>& channels) {
  std::vector<int64_t> rows;
  for (int64_t head = 0; head < num_heads; ++head) {
    for (int64_t channel : channels) rows.push_back(head * head_dim + channel);
  }
  return at::tensor(rows, at::kLong);
}

struct HeadChannels {
  std::vector<int64_t> content;  // ascending
  std::vector<int64_t> rope;     // 2p, 2p + 1 for the pairs in their order
};

HeadChannels head_channels(const std::vector<int64_t>& pairs, int64_t head_dim) {
  HeadChannels channels;
  std::vector<bool> is_rope(static_cast<size_t>(head_dim), false);
  for (int64_t pair : pairs) {
    for (int64_t channel : {2 * pair, 2 * pair + 1}) {
      channels.rope.push_back(channel);
      is_rope[static_cast<size_t>(channel)] = true;
    }
  }
  for (int64_t channel = 0; channel < head_dim; ++channel) {
    if (!is_rope[static_cast<size_t>(channel)]) channels.content.push_back(channel);
  }
  return channels;
}

/// E[rms(W x + b)] for x of zero mean and unit covariance: root of the mean squared row norm.
double typical_rms(const at::Tensor& weight, const at::Tensor& bias = {}) {
  double sum = weight.square().sum().item<double>();
  if (bias.defined()) sum += bias.square().sum().item<double>();
  return std::sqrt(sum / static_cast<double>(weight.size(0)));
}

/// rms of a latent down·x; 1 for a latent that is zero (its up-projection is zero too).
double latent_rms(const at::Tensor& down) {
  const double rms = typical_rms(down);
  return rms > 0 ? rms : 1.0;
}

/// The share of the bias in the energy of W x + b, for x as in typical_rms.
double bias_share(const at::Tensor& weight, const at::Tensor& bias) {
  const double lost = bias.square().sum().item<double>();
  return lost > 0 ? lost / (lost + weight.square().sum().item<double>()) : 0.0;
}

/// One layer by svd_weight. Returns its self_attn tensors without prefix.
Tensors convert_layer(const ModelConfig& mla,
                      const Tensors& dense,
                      int64_t layer,
                      InitLayerReport& report) {
  const LayerDims d = layer_dims(mla, layer);
  const std::string prefix = "blocks." + std::to_string(layer) + ".self_attn.";
  const auto get = [&](const std::string& name) { return tensor64(dense, prefix + name); };
  const HeadChannels channels = head_channels(rope_pairs(mla, layer), d.head_dim);
  const at::Tensor content_rows = head_rows(d.num_heads, d.head_dim, channels.content);
  const at::Tensor rope_rows = head_rows(d.num_heads, d.head_dim, channels.rope);

  const at::Tensor gain_k = get("norm_k.weight"), gain_q = get("norm_q.weight");
  const at::Tensor key = gain_k.unsqueeze(1) * get("k.weight"), key_bias = gain_k * get("k.bias");
  const at::Tensor query = gain_q.unsqueeze(1) * get("q.weight"),
                   query_bias = gain_q * get("q.bias");
  const at::Tensor value = get("v.weight");
  // The norms divide by the rms before the gain: typical scales come from the raw projections.
  const double key_rms = typical_rms(get("k.weight"), get("k.bias"));
  const double query_rms = typical_rms(get("q.weight"), get("q.bias"));

  const at::Tensor joint = at::cat({key.index_select(0, content_rows), value}, 0);
  const LowRank kv = truncated_svd(joint, d.kv_rank);
  const LowRank q = truncated_svd(query, d.q_rank);
  const SharedRopeKey rope = shared_rope_key(
      key.index_select(0, rope_rows), key_bias.index_select(0, rope_rows), d.num_heads);

  report = {.layer = layer,
            .kv_rank = d.kv_rank,
            .q_rank = d.q_rank,
            .kv_energy_kept = kv.energy_kept,
            .kv_error = (joint - kv.up.matmul(kv.down)).norm().item<double>(),
            .kv_optimal_error = kv.optimal_error,
            .q_energy_kept = q.energy_kept,
            .rope_energy_lost = rope.energy_lost,
            .query_bias_lost = d.bias ? 0.0 : bias_share(query, query_bias),
            .rope_key_bias_lost = d.bias ? 0.0 : bias_share(rope.weight, rope.bias),
            .key_scale = latent_rms(kv.down) / key_rms,
            .value_scale = latent_rms(kv.down),
            .query_scale = latent_rms(q.down) / query_rms};

  const int64_t content = d.num_heads * d.nope;
  const auto per_head = [&](const at::Tensor& rows) {
    return rows.unflatten(0, {d.num_heads, -1});
  };
  const at::Tensor up_key = per_head(kv.up.narrow(0, 0, content) * report.key_scale);
  const at::Tensor up_value =
      per_head(kv.up.narrow(0, content, d.num_heads * d.v_head) * report.value_scale);

  const auto query_rows = [&](const at::Tensor& all, double scale) {
    const at::Tensor nope = per_head(all.index_select(0, content_rows));
    const at::Tensor turned =
        per_head(turn_query_rows(all.index_select(0, rope_rows), rope, d.num_heads));
    return (at::cat({nope, turned}, 1) * scale).flatten(0, 1);
  };

  Tensors out;
  out["q_a_proj.weight"] = q.down;
  out["q_a_layernorm.weight"] = at::ones({d.q_rank}, at::kDouble);
  out["q_b_proj.weight"] = query_rows(q.up, report.query_scale);
  out["kv_a_proj_with_mqa.weight"] = at::cat({kv.down, rope.weight / key_rms}, 0);
  if (d.bias) {
    out["q_b_proj.bias"] = query_rows(query_bias.unsqueeze(1), 1.0 / query_rms).squeeze(1);
    out["kv_a_proj_with_mqa.bias"] =
        at::cat({at::zeros({d.kv_rank}, at::kDouble), rope.bias / key_rms}, 0);
  }
  out["kv_a_layernorm.weight"] = at::ones({d.kv_rank}, at::kDouble);
  out["kv_b_proj.weight"] = at::cat({up_key, up_value}, 1).flatten(0, 1);
  out["o.weight"] = get("o.weight");
  out["o.bias"] = get("o.bias") + get("o.weight").matmul(get("v.bias"));
  return out;
}

/// One layer by `random`: new matrices drawn, the output projection kept.
Tensors draw_layer(const ModelConfig& mla, const Tensors& dense, int64_t layer, uint64_t seed) {
  Tensors out;
  const std::string prefix = "blocks." + std::to_string(layer) + ".self_attn.";
  const size_t skip = prefix.size();
  for (const TensorSpec& spec : unit_layout(mla, layer)) {
    if (spec.name.rfind(prefix, 0) != 0) continue;
    const std::string name = spec.name.substr(skip);
    const bool kept = name.rfind("o.", 0) == 0 && mla.v_head_dim == mla.head_dim();
    out[name] = kept ? dense.at(spec.name) : random_tensor(mla, spec, seed);
  }
  return out;
}

}  // namespace

std::string dropped_bias_note(const std::vector<InitLayerReport>& layers) {
  double query = 0, key = 0;
  for (const InitLayerReport& layer : layers) {
    query = std::max(query, layer.query_bias_lost);
    key = std::max(key, layer.rope_key_bias_lost);
  }
  if (query == 0 && key == 0) return "";
  const auto percent = [](double share) {
    return formatted("{:g} %", std::round(share * 1000) / 10);
  };
  return formatted(
      "model.bias is false: the dense query biases and rotary key biases are dropped, in the layer "
      "that loses most {} of the queries' energy and {} of the rotary key's; model.bias: true "
      "keeps them",
      percent(query),
      percent(key));
}

LowRank truncated_svd(const at::Tensor& matrix, int64_t rank) {
  const at::Tensor a = matrix.to(at::kDouble);
  const bool wide = a.size(1) > a.size(0);
  // Eigenvectors of the smaller Gram matrix; singular values ascending in eigh's order.
  const at::Tensor gram = wide ? a.matmul(a.t()) : a.t().matmul(a);
  const auto [eigenvalues, eigenvectors] = at::linalg_eigh(gram);
  const int64_t full = gram.size(0), kept = std::min(rank, full);
  const at::Tensor energy = eigenvalues.clamp_min(0.0);
  const double total = energy.sum().item<double>();
  const double inside = energy.narrow(0, full - kept, kept).sum().item<double>();

  const at::Tensor basis = eigenvectors.narrow(1, full - kept, kept).flip({1});
  const at::Tensor projected = wide ? basis.t().matmul(a) : a.matmul(basis);  // S V^T, or U S
  const at::Tensor s = projected.norm(2, wide ? 1 : 0);
  // A singular value of 0 has no direction of its own: both factors are 0 there.
  const at::Tensor inverse_root = at::where(s > 0, s.clamp_min(1e-300).rsqrt(), at::zeros_like(s));
  const at::Tensor root = s.sqrt();
  LowRank result;
  if (wide) {
    result.up = basis * root;
    result.down = projected * inverse_root.unsqueeze(1);
  } else {
    result.up = projected * inverse_root;
    result.down = (basis * root).t().contiguous();
  }
  if (kept < rank) {
    result.up = at::constant_pad_nd(result.up, {0, rank - kept});
    result.down = at::constant_pad_nd(result.down, {0, 0, 0, rank - kept});
  }
  result.energy_kept = total > 0 ? inside / total : 1.0;
  result.optimal_error = std::sqrt(energy.narrow(0, 0, full - kept).sum().item<double>());
  return result;
}

std::vector<ConvertedLayer> convert_alone(
    int64_t num_layers, const std::function<ConvertedLayer(int64_t layer)>& convert) {
  std::vector<ConvertedLayer> layers;
  for (int64_t layer = 0; layer < num_layers; ++layer) layers.push_back(convert(layer));
  return layers;
}

MlaInit init_mla_from_dense(const ModelConfig& mla,
                            const ModelConfig& dense,
                            const Tensors& dense_tensors,
                            const std::string& method,
                            uint64_t seed,
                            const ConvertLayers& convert_layers) {
  check_sizes(mla, dense);
  check_weights(dense, dense_tensors, "dense weights");
  const bool by_svd = method == "svd_weight";
  if (!by_svd && method != "random") {
    fail_user("init.method '{}' is unknown: known are svd_weight, random", method);
  }
  if (by_svd) check_head_split(mla);

  MlaInit init;
  for (const auto& [name, tensor] : dense_tensors) {
    if (name.find(".self_attn.") == std::string::npos) init.tensors[name] = tensor.to(at::kFloat);
  }
  const auto convert = [&](int64_t layer) {
    ConvertedLayer converted;
    converted.report.layer = layer;
    converted.tensors = by_svd ? convert_layer(mla, dense_tensors, layer, converted.report)
                               : draw_layer(mla, dense_tensors, layer, seed);
    for (auto& [name, tensor] : converted.tensors) tensor = tensor.to(at::kFloat);
    return converted;
  };
  for (const ConvertedLayer& layer : convert_layers(mla.num_layers, convert)) {
    for (const auto& [name, tensor] : layer.tensors)
      init.tensors["blocks." + std::to_string(layer.report.layer) + ".self_attn." + name] = tensor;
    if (by_svd) init.layers.push_back(layer.report);
  }
  check_weights(mla, init.tensors, "initialised weights");
  return init;
}

}  // namespace vmla::model
