#include "model/conversion/mla_from_dense.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/conversion/init_methods.h"
#include "model/io/error.h"
#include "tests/model/tiny_network.h"

namespace vmla::model {
namespace {

using testing::HasSubstr;
using Tensors = std::map<std::string, at::Tensor>;

// Converted weights are fp32: 2^-24 relative to the largest entry of a product of up to 24 terms.
constexpr double kSingle = 3e-6;

/// MLA form of tiny_dense that can hold all of it: full ranks, every channel of a head kept.
ModelConfig full_rank_mla() {
  ModelConfig c = tiny_dense();
  c.attention = "mla";
  c.kv_lora_rank = {{24}};
  c.q_lora_rank = 24;
  c.qk_nope_head_dim = 8;
  c.qk_rope_head_dim = 4;
  c.v_head_dim = 12;
  c.rope_pair_indices = {{{4, 1}, {0, 2}}};
  return c;
}

Tensors attention_of(const Tensors& all, int64_t layer) {
  Tensors found;
  const std::string prefix = "blocks." + std::to_string(layer) + ".self_attn.";
  for (const auto& [name, tensor] : all) {
    if (name.rfind(prefix, 0) == 0) found[name.substr(prefix.size())] = tensor.to(at::kDouble);
  }
  return found;
}

/// Rows of the channels of each head that are not in the layer's rope pairs, ascending.
at::Tensor content_rows(const at::Tensor& rows, const ModelConfig& config, int64_t layer) {
  std::vector<int64_t> kept;
  const auto pairs = rope_pairs(config, layer);
  for (int64_t row = 0; row < rows.size(0); ++row) {
    const int64_t pair = row % config.head_dim() / 2;
    if (std::find(pairs.begin(), pairs.end(), pair) == pairs.end()) kept.push_back(row);
  }
  return rows.index_select(0, at::tensor(kept, at::kLong));
}

double relative(const at::Tensor& a, const at::Tensor& b) {
  return max_difference(a, b) / b.abs().max().item<double>();
}

TEST(MlaFromDense, FullRankKeepsContentKeysAndValues) {
  const ModelConfig dense = tiny_dense(), mla = full_rank_mla();
  const Tensors given = drawn_weights(dense);
  const MlaInit init = init_mla_from_dense(mla, dense, given, "svd_weight", 0);
  ASSERT_EQ(init.layers.size(), 2u);
  for (int64_t layer = 0; layer < 2; ++layer) {
    const Tensors from = attention_of(given, layer), to = attention_of(init.tensors, layer);
    const InitLayerReport& report = init.layers[static_cast<size_t>(layer)];
    const at::Tensor down = to.at("kv_a_proj_with_mqa.weight").narrow(0, 0, 24);
    const at::Tensor up = to.at("kv_b_proj.weight").unflatten(0, {2, 20});
    const at::Tensor keys = up.narrow(1, 0, 8).flatten(0, 1).matmul(down) / report.key_scale;
    const at::Tensor values = up.narrow(1, 8, 12).flatten(0, 1).matmul(down) / report.value_scale;
    const at::Tensor gained = from.at("norm_k.weight").unsqueeze(1) * from.at("k.weight");
    EXPECT_LT(relative(keys, content_rows(gained, mla, layer)), kSingle);
    EXPECT_LT(relative(values, from.at("v.weight")), kSingle);
    // The value bias becomes part of the output bias; nothing else of the output moves.
    EXPECT_LT(relative(to.at("o.weight"), from.at("o.weight")), kSingle);
    EXPECT_LT(relative(to.at("o.bias"),
                       from.at("o.bias") + from.at("o.weight").matmul(from.at("v.bias"))),
              kSingle);
    EXPECT_NEAR(report.kv_energy_kept, 1.0, 1e-12);
    EXPECT_NEAR(report.q_energy_kept, 1.0, 1e-12);
    EXPECT_EQ(report.layer, layer);
  }
  for (const auto& [name, tensor] : given) {
    if (name.find(".self_attn.") != std::string::npos) continue;
    EXPECT_TRUE(at::equal(init.tensors.at(name), tensor.to(at::kFloat))) << name;
  }
}

/// Makes head 1's rope key rows (gain and bias included) complex multiples of head 0's, so that one
/// key carries both heads.
void align_rope_heads(Tensors& weights, const ModelConfig& mla, int64_t layer) {
  const std::string prefix = "blocks." + std::to_string(layer) + ".self_attn.";
  const at::Tensor gain = weights.at(prefix + "norm_k.weight");
  for (const char* name : {"k.weight", "k.bias"}) {
    at::Tensor& w = weights.at(prefix + name);
    const at::Tensor gains = w.dim() == 2 ? gain.unsqueeze(1) : gain;
    at::Tensor folded = gains * w;
    for (const int64_t pair : rope_pairs(mla, layer)) {
      const double factor = 0.5 + static_cast<double>(pair),
                   angle = 1.0 + static_cast<double>(pair);
      const double re = factor * std::cos(angle), im = factor * std::sin(angle);
      const at::Tensor x = folded.select(0, 2 * pair).clone(),
                       y = folded.select(0, 2 * pair + 1).clone();
      folded.select(0, 12 + 2 * pair).copy_(re * x - im * y);
      folded.select(0, 12 + 2 * pair + 1).copy_(im * x + re * y);
    }
    w = folded / gains;
  }
}

/// Stops the rotation of the pairs that the latent form does not rotate.
void keep_rope_pairs(PreparedPlan& plan, const ModelConfig& mla, int64_t layer) {
  const auto pairs = rope_pairs(mla, layer);
  for (auto& tables : plan.tables) {
    for (int64_t pair = 0; pair < mla.head_dim() / 2; ++pair) {
      if (std::find(pairs.begin(), pairs.end(), pair) != pairs.end()) continue;
      for (const auto& table : {tables.query, tables.key}) {
        table.cos.select(1, pair).fill_(1.0);
        table.sin.select(1, pair).zero_();
      }
    }
  }
}

/// An epsilon so large that it decides the norms: they divide by its root, whatever their input.
constexpr double kInactiveEps = 1e16;

TEST(MlaFromDense, WithoutNormsTheAttentionIsTheDenseOne) {
  const ModelConfig dense = tiny_dense(), mla = full_rank_mla();
  Tensors given = drawn_weights(dense);
  for (int64_t layer = 0; layer < 2; ++layer) align_rope_heads(given, mla, layer);
  const MlaInit init = init_mla_from_dense(mla, dense, given, "svd_weight", 0);
  for (int64_t layer = 0; layer < 2; ++layer) {
    const InitLayerReport& report = init.layers[static_cast<size_t>(layer)];
    EXPECT_NEAR(report.rope_energy_lost, 0.0, 1e-12);

    // Take the typical scales for the norms, as the conversion does.
    const double root = std::sqrt(kInactiveEps);
    const double key_rms = report.value_scale / report.key_scale;
    TrainedWeights dense_weights(dense, given, "dense", at::kCPU, at::kDouble, at::kDouble);
    auto w = std::get<DenseAttentionWeights>(
        bind_block(dense, layer, dense_weights.acquire(layer)).self_attn);
    const at::Tensor raw_query = at::cat({w.q_weight, w.q_bias.unsqueeze(1)}, 1);
    const double query_rms = std::sqrt(raw_query.square().sum().item<double>() / 24);
    w.norm_k_weight = w.norm_k_weight * (root / key_rms);
    w.norm_q_weight = w.norm_q_weight * (root / query_rms);

    TrainedWeights mla_weights(mla, init.tensors, "mla", at::kCPU, at::kDouble, at::kDouble);
    auto m =
        std::get<MlaAttentionWeights>(bind_block(mla, layer, mla_weights.acquire(layer)).self_attn);
    m.kv_a_layernorm = m.kv_a_layernorm * (root / report.value_scale);
    m.q_a_layernorm = m.q_a_layernorm * (root / (report.query_scale * query_rms));

    const auto run = [&](const ModelConfig& config, const auto& attention, const auto& weights) {
      PreparedPlan plan = prepared(config, bidirectional_plan(3));
      if (!config.is_mla()) keep_rope_pairs(plan, mla, layer);
      const LayerDims dims = layer_dims(config, layer);
      const SelfAttentionArgs args{.dims = dims,
                                   .plan = plan,
                                   .layer = layer,
                                   .eps = kInactiveEps,
                                   .latent_norm_eps = kInactiveEps,
                                   .only_output = false,
                                   .kv_only = false,
                                   .window = {}};
      return attention(weights, draw("x", {2, 3 * kTinyTokens, 24}), args).out_BLD;
    };
    // Weights are right to kSingle; logits of order 10 pass that on to the softmax.
    EXPECT_LT(relative(run(mla, mla_attention, m), run(dense, dense_attention, w)), 10 * kSingle);
  }
}

TEST(MlaFromDense, ScalesStandInForTheNorms) {
  // For isotropic inputs keys and values have the dense sizes: no constant factor.
  const ModelConfig dense = tiny_dense(), mla = full_rank_mla();
  const Tensors given = drawn_weights(dense);
  const MlaInit init = init_mla_from_dense(mla, dense, given, "svd_weight", 0);
  const Tensors from = attention_of(given, 0), to = attention_of(init.tensors, 0);
  const at::Tensor x = draw("x", {2000, 24});
  const at::Tensor latent = x.matmul(to.at("kv_a_proj_with_mqa.weight").narrow(0, 0, 24).t());
  const at::Tensor normed = latent / latent.square().mean(1, true).sqrt();
  const at::Tensor up = to.at("kv_b_proj.weight").unflatten(0, {2, 20});
  const at::Tensor value = normed.matmul(up.narrow(1, 8, 12).flatten(0, 1).t());
  const at::Tensor dense_value = x.matmul(from.at("v.weight").t());
  // A latent of 24 channels varies in size by some 15 %, which moves the mean by its square.
  EXPECT_NEAR(((value * dense_value).sum() / dense_value.square().sum()).item<double>(), 1.0, 0.05);
  const at::Tensor key = normed.matmul(up.narrow(1, 0, 8).flatten(0, 1).t());
  // The key's content bias adds the same to all logits of a query and is not carried over.
  const at::Tensor raw = x.matmul(from.at("k.weight").t());
  const at::Tensor rms = (raw + from.at("k.bias")).square().mean(1, true).sqrt();
  const at::Tensor dense_key = content_rows((from.at("norm_k.weight") * (raw / rms)).t(), mla, 0);
  EXPECT_NEAR(((key.t() * dense_key).sum() / dense_key.square().sum()).item<double>(), 1.0, 0.1);
}

TEST(MlaFromDense, LowRankErrorIsTheOptimum) {
  const ModelConfig dense = tiny_dense();
  ModelConfig low = full_rank_mla();
  low.kv_lora_rank = {{5, 9}};
  low.q_lora_rank = 6;
  const Tensors given = drawn_weights(dense);
  const MlaInit init = init_mla_from_dense(low, dense, given, "svd_weight", 0);
  for (int64_t layer = 0; layer < 2; ++layer) {
    const InitLayerReport& report = init.layers[static_cast<size_t>(layer)];
    const Tensors from = attention_of(given, layer);
    const at::Tensor gained = from.at("norm_k.weight").unsqueeze(1) * from.at("k.weight");
    const at::Tensor joint = at::cat({content_rows(gained, low, layer), from.at("v.weight")}, 0);
    const at::Tensor s = at::linalg_svdvals(joint).square();
    const int64_t rank = low.kv_lora_rank.at(layer);
    const double beyond = s.narrow(0, rank, 24 - rank).sum().item<double>();
    EXPECT_NEAR(report.kv_optimal_error, std::sqrt(beyond), 1e-9);
    EXPECT_NEAR(report.kv_error / report.kv_optimal_error, 1.0, 1e-5);  // Eckart-Young
    EXPECT_NEAR(report.kv_energy_kept, 1.0 - beyond / s.sum().item<double>(), 1e-12);
    const at::Tensor sq =
        at::linalg_svdvals(from.at("norm_q.weight").unsqueeze(1) * from.at("q.weight")).square();
    EXPECT_NEAR(report.q_energy_kept, (sq.narrow(0, 0, 6).sum() / sq.sum()).item<double>(), 1e-12);

    // And so is that of the weights themselves, once the constants are taken out.
    const Tensors to = attention_of(init.tensors, layer);
    const at::Tensor down = to.at("kv_a_proj_with_mqa.weight").narrow(0, 0, rank);
    const at::Tensor up = to.at("kv_b_proj.weight").unflatten(0, {2, 20});
    const at::Tensor composed = at::cat({up.narrow(1, 0, 8).flatten(0, 1) / report.key_scale,
                                         up.narrow(1, 8, 12).flatten(0, 1) / report.value_scale},
                                        0)
                                    .matmul(down);
    EXPECT_NEAR((joint - composed).norm().item<double>() / report.kv_optimal_error, 1.0, 1e-5);
  }
}

TEST(MlaFromDense, RandomKeepsEverythingElse) {
  const ModelConfig dense = tiny_dense();
  ModelConfig mla = full_rank_mla();
  const Tensors given = drawn_weights(dense);
  const MlaInit init = init_mla_from_dense(mla, dense, given, "random", 3);
  EXPECT_TRUE(init.layers.empty());
  const Tensors fresh = random_weights(mla, 3);
  for (const auto& [name, tensor] : init.tensors) {
    const bool drawn = name.find(".self_attn.") != std::string::npos &&
                       name.find(".self_attn.o.") == std::string::npos;
    EXPECT_TRUE(at::equal(tensor, drawn ? fresh.at(name) : given.at(name).to(at::kFloat))) << name;
  }
  // Other value heads than the dense ones leave nothing to keep of the output projection.
  mla.v_head_dim = 10;
  const MlaInit other = init_mla_from_dense(mla, dense, given, "random", 3);
  EXPECT_TRUE(at::equal(other.tensors.at("blocks.1.self_attn.o.weight"),
                        random_weights(mla, 3).at("blocks.1.self_attn.o.weight")));
}

TEST(MlaFromDense, WithoutBiasRopeAndQueryBiasesAreDropped) {
  const ModelConfig dense = tiny_dense();
  ModelConfig mla = full_rank_mla();
  Tensors given = drawn_weights(dense);
  const MlaInit whole = init_mla_from_dense(mla, dense, given, "svd_weight", 0);
  EXPECT_EQ(dropped_bias_note(whole.layers), "");
  mla.bias = false;
  const MlaInit init = init_mla_from_dense(mla, dense, given, "svd_weight", 0);
  EXPECT_EQ(init.tensors.count("blocks.0.self_attn.q_b_proj.bias"), 0u);
  // What is lost: the share of the biases in what the conversion with biases carries.
  const auto share = [](const at::Tensor& weight, const at::Tensor& bias) {
    const double lost = bias.square().sum().item<double>();
    return lost / (weight.square().sum().item<double>() + lost);
  };
  for (int64_t layer = 0; layer < 2; ++layer) {
    const Tensors from = attention_of(given, layer), kept = attention_of(whole.tensors, layer);
    const at::Tensor gain = from.at("norm_q.weight");
    EXPECT_NEAR(init.layers[static_cast<size_t>(layer)].query_bias_lost,
                share(gain.unsqueeze(1) * from.at("q.weight"), gain * from.at("q.bias")),
                1e-12);
    EXPECT_NEAR(init.layers[static_cast<size_t>(layer)].rope_key_bias_lost,
                share(kept.at("kv_a_proj_with_mqa.weight").narrow(0, 24, 4),
                      kept.at("kv_a_proj_with_mqa.bias").narrow(0, 24, 4)),
                kSingle);
    EXPECT_EQ(whole.layers[static_cast<size_t>(layer)].query_bias_lost, 0.0);
  }
  EXPECT_THAT(dropped_bias_note(init.layers), HasSubstr("query biases and rotary key biases"));
  // A model without such biases loses none.
  for (auto& [name, tensor] : given) {
    if (name.ends_with(".q.bias") || name.ends_with(".k.bias")) tensor.zero_();
  }
  EXPECT_EQ(dropped_bias_note(init_mla_from_dense(mla, dense, given, "svd_weight", 0).layers), "");
}

/// Second moments of inputs whose directions differ in size, one a layer.
std::vector<LayerMoments> drawn_moments() {
  std::vector<LayerMoments> moments;
  for (const std::string layer : {"0", "1"}) {
    const auto moment = [&](const std::string& kind) {
      const at::Tensor x = draw(kind + layer, {200, 24}) * at::logspace(0.5, -1.5, 24);
      const at::Tensor with_one = at::constant_pad_nd(x, {0, 1}, 1.0).to(at::kDouble);
      return with_one.t().matmul(with_one) / 200;
    };
    moments.push_back({moment("keys"), moment("queries")});
  }
  return moments;
}

TEST(MlaFromDense, EveryFactorisationIsExactAtFullRank) {
  const ModelConfig dense = tiny_dense();
  ModelConfig mla = full_rank_mla();
  const Tensors given = drawn_weights(dense);
  for (const InitMethod& method : kInitMethods) {
    if (!method.factorises) continue;
    SCOPED_TRACE(method.name);
    // Latents of their own for keys and values take both ranks: 16 + 24.
    const int64_t rank = method.name == std::string("svd_split") ? 40 : 24;
    mla.kv_lora_rank = {{rank}};
    const MlaInit init = init_mla_from_dense(
        mla, dense, given, std::string(method.name), 0, convert_alone, drawn_moments());
    for (int64_t layer = 0; layer < 2; ++layer) {
      const Tensors from = attention_of(given, layer), to = attention_of(init.tensors, layer);
      const InitLayerReport& report = init.layers[static_cast<size_t>(layer)];
      const at::Tensor down = to.at("kv_a_proj_with_mqa.weight").narrow(0, 0, rank);
      const at::Tensor up = to.at("kv_b_proj.weight").unflatten(0, {2, 20});
      const at::Tensor keys = up.narrow(1, 0, 8).flatten(0, 1).matmul(down) / report.key_scale;
      const at::Tensor values = up.narrow(1, 8, 12).flatten(0, 1).matmul(down) / report.value_scale;
      const at::Tensor gained = from.at("norm_k.weight").unsqueeze(1) * from.at("k.weight");
      EXPECT_LT(relative(keys, content_rows(gained, mla, layer)), 1e-5);
      EXPECT_LT(relative(values, from.at("v.weight")), 1e-5);
    }
  }
}

TEST(MlaFromDense, WhitenedErrsLeastOnItsInputs) {
  const ModelConfig dense = tiny_dense();
  ModelConfig low = full_rank_mla();
  low.kv_lora_rank = {{5, 9}};
  low.q_lora_rank = 6;
  const Tensors given = drawn_weights(dense);
  const std::vector<LayerMoments> moments = drawn_moments();
  // Measured in the weights, scale constants taken out, so that every method is read alike.
  const auto error = [&](const std::string& method, int64_t layer) {
    const MlaInit init = init_mla_from_dense(low, dense, given, method, 0, convert_alone, moments);
    const InitLayerReport& report = init.layers[static_cast<size_t>(layer)];
    const Tensors from = attention_of(given, layer), to = attention_of(init.tensors, layer);
    const int64_t rank = low.kv_lora_rank.at(layer);
    const at::Tensor down = to.at("kv_a_proj_with_mqa.weight").narrow(0, 0, rank);
    const at::Tensor up = to.at("kv_b_proj.weight").unflatten(0, {2, 20});
    const at::Tensor made = at::cat({up.narrow(1, 0, 8).flatten(0, 1) / report.key_scale,
                                     up.narrow(1, 8, 12).flatten(0, 1) / report.value_scale},
                                    0)
                                .matmul(down);
    const at::Tensor gained = from.at("norm_k.weight").unsqueeze(1) * from.at("k.weight");
    const at::Tensor joint = at::cat({content_rows(gained, low, layer), from.at("v.weight")}, 0);
    const at::Tensor c = moments[static_cast<size_t>(layer)].keys.narrow(0, 0, 24).narrow(1, 0, 24);
    const double share =
        std::sqrt(((joint - made).matmul(c) * (joint - made)).sum().item<double>() /
                  (joint.matmul(c) * joint).sum().item<double>());
    if (report.kv_activation_error >= 0) {
      EXPECT_NEAR(report.kv_activation_error, share, 1e-5);
    }
    return share;
  };
  for (int64_t layer = 0; layer < 2; ++layer) {
    const double least = error("care", layer);
    for (const char* other :
         {"svd_weight", "svd_split", "svd_full_mean_rope", "transmla", "care_complex"}) {
      EXPECT_LE(least, error(other, layer) * (1 + 1e-6)) << other;
    }
    EXPECT_LT(least, 0.8 * error("svd_weight", layer));
  }
}

// Methods are listed in one place; whatever stands there converts a model.
TEST(MlaFromDense, EveryMethodGivesACompleteModel) {
  const ModelConfig dense = tiny_dense(), mla = full_rank_mla();
  const Tensors given = drawn_weights(dense);
  for (const InitMethod& method : kInitMethods) {
    SCOPED_TRACE(method.name);
    const MlaInit init = init_mla_from_dense(
        mla, dense, given, std::string(method.name), 0, convert_alone, drawn_moments());
    EXPECT_NO_THROW(check_weights(mla, init.tensors, "converted"));
    EXPECT_EQ(init.layers.size(), method.factorises ? 2U : 0U);
  }
}

TEST(MlaFromDense, BadRequestsAreExplained) {
  const ModelConfig dense = tiny_dense(), mla = full_rank_mla();
  const Tensors given = drawn_weights(dense);
  const auto message =
      [&](const ModelConfig& to, const ModelConfig& from, const std::string& method) {
        try {
          init_mla_from_dense(to, from, given, method, 0);
        } catch (const UserError& error) {
          return std::string(error.what());
        }
        return std::string("accepted");
      };
  EXPECT_THAT(message(mla, dense, "svd"),
              HasSubstr("'svd' is unknown; use random, svd_weight, svd_split"));
  EXPECT_THAT(message(mla, dense, "care"), HasSubstr("needs latents to calibrate on"));
  EXPECT_THAT(message(mla, mla, "svd_weight"), HasSubstr("already MLA"));
  ModelConfig other = mla;
  other.num_layers = 3;
  EXPECT_THAT(message(other, dense, "random"),
              HasSubstr("num_layers is 3, the dense model's is 2"));
  other = mla;
  other.qk_nope_head_dim = 6;
  EXPECT_THAT(message(other, dense, "svd_weight"), HasSubstr("qk_nope_head_dim"));
  other = mla;
  other.v_head_dim = 10;
  EXPECT_THAT(message(other, dense, "svd_weight"), HasSubstr("v_head_dim"));
}

}  // namespace
}  // namespace vmla::model
