#include "analysis/study/pair_choice.h"

#include "model/conversion/layer_conversion.h"
#include "model/conversion/side_by_side.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <complex>
#include <numeric>

namespace vmla::analysis {
namespace {

constexpr double kTheta = 10000.0;

/// 1 − |mean of exp(i frequency δ)|².
double effect_over(const std::vector<int64_t>& offsets, double frequency) {
  std::complex<double> sum = 0;
  for (const int64_t offset : offsets)
    sum += std::polar(1.0, frequency * static_cast<double>(offset));
  return 1.0 - std::norm(sum / static_cast<double>(offsets.size()));
}

/// Query time − key time of every attending pair of frames whose flow is wanted.
std::vector<int64_t> time_offsets(const model::AttentionPlan& plan) {
  std::vector<int64_t> offsets;
  for (const model::PlanRect& rect : plan.rects) {
    for (int64_t q = rect.query_begin; q < rect.query_begin + rect.query_count; ++q) {
      if (q < plan.output_begin) continue;
      for (int64_t k = rect.key_begin; k < rect.key_begin + rect.key_count; ++k) {
        offsets.push_back(plan.query_times[static_cast<size_t>(q)] -
                          plan.key_times[static_cast<size_t>(k)] - rect.time_shift);
      }
    }
  }
  return offsets;
}

std::vector<int64_t> offsets_within(int64_t length) {
  std::vector<int64_t> offsets;
  for (int64_t q = 0; q < length; ++q) {
    for (int64_t k = 0; k < length; ++k) offsets.push_back(q - k);
  }
  return offsets;
}

/// E|s|² Σ_h |u_h|² E|q_h|² of each pair: the shared key's energy times that of the turned queries.
std::vector<double> logit_energies(const model::DenseLayer& dense,
                                   const model::LayerMoments& moments,
                                   int64_t num_heads) {
  const auto with_bias = [](const at::Tensor& rows, const at::Tensor& bias) {
    return at::cat({rows, bias.unsqueeze(1)}, 1);
  };
  const auto energies = [](const at::Tensor& rows, const at::Tensor& moment) {
    return (rows.matmul(moment) * rows).sum(1);
  };
  const model::SharedRopeKey key = model::shared_rope_key(
      dense.key, dense.key_bias, num_heads, model::HeadMix::kComplex, moments.keys);
  const at::Tensor of_key =
      energies(with_bias(key.weight, key.bias), moments.keys).unflatten(0, {-1, 2}).sum(1);
  const at::Tensor of_query = energies(with_bias(dense.query, dense.query_bias), moments.queries)
                                  .unflatten(0, {num_heads, -1, 2})
                                  .sum(2);  // N, pairs
  const at::Tensor turned = (key.heads.abs().square().t() * of_query).sum(0);
  const at::Tensor product = (of_key * turned).contiguous();
  const double* first = product.const_data_ptr<double>();
  return {first, first + product.numel()};
}

/// The `count` pairs of the highest scores, at least one of each axis where count allows it.
std::vector<int64_t> best_pairs(const std::vector<double>& scores,
                                int64_t head_dim,
                                int64_t count) {
  std::vector<int64_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, [&](int64_t a, int64_t b) {
    return scores[static_cast<size_t>(a)] > scores[static_cast<size_t>(b)];
  });
  const auto axes = model::dense_axis_pairs(head_dim);
  const auto axis_of = [&](int64_t pair) {
    return pair < axes[0] ? 0 : pair < axes[0] + axes[1] ? 1 : 2;
  };
  std::vector<int64_t> chosen;
  for (int axis = 0; axis < 3 && static_cast<int64_t>(chosen.size()) < count; ++axis) {
    const auto best = std::ranges::find(order, axis, axis_of);
    if (best != order.end()) chosen.push_back(*best);
  }
  for (const int64_t pair : order) {
    if (static_cast<int64_t>(chosen.size()) == count) break;
    if (std::ranges::find(chosen, pair) == chosen.end()) chosen.push_back(pair);
  }
  std::ranges::sort(chosen);
  return chosen;
}

}  // namespace

std::vector<double> rotation_effect(const model::AttentionPlan& plan,
                                    model::TokenGrid grid,
                                    int64_t head_dim) {
  const std::vector<int64_t> offsets[] = {
      time_offsets(plan), offsets_within(grid.rows), offsets_within(grid.cols)};
  std::vector<double> effect;
  const auto axes = model::dense_axis_pairs(head_dim);
  for (size_t axis = 0; axis < axes.size(); ++axis) {
    for (int64_t i = 0; i < axes[axis]; ++i) {
      const double share = static_cast<double>(i) / static_cast<double>(axes[axis]);
      effect.push_back(effect_over(offsets[axis], std::pow(kTheta, -share)));
    }
  }
  return effect;
}

std::vector<std::vector<int64_t>> choose_pairs(const model::ModelConfig& mla,
                                               const std::map<std::string, at::Tensor>& dense,
                                               const std::vector<model::LayerMoments>& moments,
                                               const std::vector<double>& effect) {
  std::vector<std::vector<int64_t>> chosen(static_cast<size_t>(mla.num_layers));
  model::side_by_side(mla.num_layers, [&](int64_t layer) {
    const auto index = static_cast<size_t>(layer);
    const model::LayerToConvert from{
        .mla = mla, .dense = dense, .layer = layer, .seed = 0, .moments = &moments[index]};
    std::vector<double> scores =
        logit_energies(model::dense_layer(from), moments[index], mla.num_heads);
    for (size_t pair = 0; pair < scores.size(); ++pair) scores[pair] *= effect[pair];
    chosen[index] = best_pairs(scores, mla.head_dim(), mla.qk_rope_head_dim / 2);
  });
  return chosen;
}

}  // namespace vmla::analysis
