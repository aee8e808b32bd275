#include "analysis/study/init_score.h"

#include "model/conversion/layer_conversion.h"
#include "model/conversion/side_by_side.h"
#include "model/network/attention_tap.h"
#include "model/weights/local_weights.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

namespace vmla::analysis {
namespace {

using model::LayerDims;

/// Root of min_s E||(s made − wanted) x||² / E||wanted x||² for x of that second moment.
double error_up_to_factor(const at::Tensor& made,
                          const at::Tensor& wanted,
                          const at::Tensor& moment) {
  const at::Tensor seen = moment.defined() ? made.matmul(moment) : made;
  const double own = (seen * made).sum().item<double>();
  const double both = (seen * wanted).sum().item<double>();
  const double target =
      moment.defined() ? model::energy_of(wanted, moment) : wanted.square().sum().item<double>();
  if (own <= 0 || target <= 0) return target > 0 ? 1.0 : 0.0;
  return std::sqrt(std::max(0.0, 1.0 - both * both / (own * target)));
}

/// Content keys' and values' composed maps [N nope, D] and [N V, D] of a converted layer.
struct Composed {
  at::Tensor key, value;
};

Composed composed(const model::ConvertedLayer& layer, const LayerDims& d) {
  const at::Tensor down = layer.tensors.at("kv_a_proj_with_mqa.weight").narrow(0, 0, d.kv_rank);
  const at::Tensor up = layer.tensors.at("kv_b_proj.weight").unflatten(0, {d.num_heads, -1});
  const auto rows = [&](int64_t begin, int64_t count) {
    return up.narrow(1, begin, count).flatten(0, 1).to(at::kDouble).matmul(down.to(at::kDouble));
  };
  return {rows(0, d.nope), rows(d.nope, d.v_head)};
}

LayerScore layer_score(const model::ConvertedLayer& layer,
                       const model::DenseLayer& dense,
                       const LayerDims& d,
                       bool factorises,
                       const at::Tensor& held_out) {
  const Composed made = composed(layer, d);
  const int64_t content = dense.rows.content.size(0);
  const at::Tensor key = dense.joint.narrow(0, 0, content);
  LayerScore score;
  // Keys and values share the weights' error by their energy; each kind has a factor of its own.
  const double key_miss = error_up_to_factor(made.key, key, {}) * key.norm().item<double>();
  const double value_miss =
      error_up_to_factor(made.value, dense.value, {}) * dense.value.norm().item<double>();
  score.weight_error =
      std::sqrt(key_miss * key_miss + value_miss * value_miss) / dense.joint.norm().item<double>();
  score.key_error = error_up_to_factor(made.key, key, held_out);
  score.value_error = error_up_to_factor(made.value, dense.value, held_out);
  if (factorises) score.rope_energy_kept = 1.0 - layer.report.rope_energy_lost;
  if (layer.report.refined_to >= 0) {
    score.refined_from = layer.report.refined_from;
    score.refined_to = layer.report.refined_to;
  }
  return score;
}

/// What can be said of the weights, with the held-out tokens' moments where there are any.
std::vector<MethodScore> scores_of_weights(const InitQuestion& q,
                                           const std::vector<model::LayerMoments>& held_out) {
  std::vector<MethodScore> scores;
  for (const model::InitMethod& method : q.methods) {
    scores.push_back({.method = std::string(method.name), .layers = {}});
    scores.back().layers.resize(static_cast<size_t>(q.mla.num_layers));
  }
  model::side_by_side(q.mla.num_layers, [&](int64_t layer) {
    const auto index = static_cast<size_t>(layer);
    const LayerDims d = model::layer_dims(q.mla, layer);
    const at::Tensor moment =
        held_out.empty() ? at::Tensor() : model::input_moment(held_out[index].keys);
    model::SharedFactors shared;
    model::LayerToConvert from{.mla = q.mla,
                               .dense = q.tensors,
                               .layer = layer,
                               .seed = q.seed,
                               .moments = nullptr,
                               .shared = &shared,
                               .refine_steps = q.refine_steps};
    const model::DenseLayer dense = model::dense_layer(from);
    for (size_t i = 0; i < q.methods.size(); ++i) {
      const model::InitMethod& method = q.methods[i];
      from.moments = method.calibrates ? &q.moments[index] : nullptr;
      scores[i].layers[index] =
          layer_score(model::function_of(method)(from), dense, d, method.factorises, moment);
    }
  });
  return scores;
}

/// Sums of squares, of a difference and of what it is relative to.
struct Misses {
  double missed = 0, whole = 0;
  void add(const at::Tensor& made, const at::Tensor& wanted) {
    missed += (made - wanted).square().sum(at::kDouble).item<double>();
    whole += wanted.square().sum(at::kDouble).item<double>();
  }
  double error() const { return whole > 0 ? std::sqrt(missed / whole) : 0.0; }
};

/// Runs dense and converted model on the held-out clips.
void score_outputs(const InitQuestion& q,
                   const model::Network& dense,
                   const model::Network& mla,
                   MethodScore& score,
                   double& dense_loss) {
  std::vector<Misses> outputs(score.layers.size());
  Misses velocity;
  double loss = 0, loss_of_dense = 0, numbers = 0;
  for (int64_t clip = 0; clip < q.held_out.clips; ++clip) {
    const auto in = model::calibration_inputs(dense.config, q.held_out, clip);
    const auto ours = model::calibration_inputs(mla.config, q.held_out, clip);
    const auto look = [&](int64_t layer, const at::Tensor& x_BLD) {
      const auto out = [&](const model::Network& network, const model::PreparedPlan& plan) {
        const LayerDims dims = model::layer_dims(network.config, layer);
        const model::SelfAttentionArgs args{.dims = dims,
                                            .plan = plan,
                                            .layer = layer,
                                            .eps = network.config.eps,
                                            .latent_norm_eps = network.config.latent_norm_eps,
                                            .only_output = true,
                                            .kv_only = false,
                                            .window = {}};
        const auto w = model::bind_block(network.config, layer, network.weights.acquire(layer));
        const auto* latent = std::get_if<model::MlaAttentionWeights>(&w.self_attn);
        const at::Tensor result =
            latent ? model::mla_attention(*latent, x_BLD, args).out_BLD
                   : model::dense_attention(
                         std::get<model::DenseAttentionWeights>(w.self_attn), x_BLD, args)
                         .out_BLD;
        network.weights.release(layer);
        return result;
      };
      outputs[static_cast<size_t>(layer)].add(out(mla, ours.plan), out(dense, in.plan));
    };
    at::Tensor wanted;
    {
      const model::AttentionTap tap(look);
      wanted = model::teacher_forcing_forward(dense, in.clean_BFCHW, in.noisy, in.plan, {});
    }
    const at::Tensor made =
        model::teacher_forcing_forward(mla, ours.clean_BFCHW, ours.noisy, ours.plan, {});
    const at::Tensor target = in.noise_BFCHW - in.clean_BFCHW;
    velocity.add(made, wanted);
    loss += (made - target).square().sum(at::kDouble).item<double>();
    loss_of_dense += (wanted - target).square().sum(at::kDouble).item<double>();
    numbers += static_cast<double>(target.numel());
  }
  for (size_t layer = 0; layer < outputs.size(); ++layer)
    score.layers[layer].output_error = outputs[layer].error();
  score.velocity_error = velocity.error();
  score.first_loss = loss / numbers;
  dense_loss = loss_of_dense / numbers;
}

}  // namespace

InitScores score_inits(const InitQuestion& q) {
  const at::NoGradGuard no_grad;
  InitScores scores;
  if (q.held_out.clips == 0) {
    scores.methods = scores_of_weights(q, {});
    return scores;
  }
  const model::ModelConfig causal = model::causal_dense(q.dense, q.mla);
  model::FrozenWeights dense(causal, q.tensors, "dense weights");
  std::vector<model::LayerMoments> held_out = model::moment_sums({causal, dense}, q.held_out);
  model::normalise(held_out);
  scores.methods = scores_of_weights(q, held_out);
  for (MethodScore& score : scores.methods) {
    const bool factorises = model::find_init_method(score.method)->factorises;
    // One converted model at a time: a large one fills the memory.
    const model::MlaInit init = model::init_mla_from_dense(q.mla,
                                                           q.dense,
                                                           q.tensors,
                                                           score.method,
                                                           q.seed,
                                                           model::convert_alone,
                                                           q.moments,
                                                           factorises ? q.refine_steps : 0);
    model::FrozenWeights mla(q.mla, init.tensors, score.method);
    score_outputs(q, {causal, dense}, {q.mla, mla}, score, scores.dense_loss);
  }
  return scores;
}

}  // namespace vmla::analysis
