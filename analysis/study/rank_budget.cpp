#include "analysis/study/rank_budget.h"

#include "model/conversion/layer_conversion.h"
#include "model/conversion/side_by_side.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <queue>
#include <utility>

namespace vmla::analysis {
namespace {

/// Squared singular values, descending and of sum 1, of the content keys' and the values' map, each
/// kind divided by its typical size, behind inputs of that moment.
std::vector<double> balanced_energies(const model::DenseLayer& dense, const at::Tensor& moment) {
  const int64_t content = dense.rows.content.size(0);
  const at::Tensor c =
      moment.defined() ? moment : at::eye(dense.joint.size(1), dense.joint.options());
  at::Tensor gram = at::zeros_like(c);
  for (const at::Tensor& part : {dense.joint.narrow(0, 0, content),
                                 dense.joint.narrow(0, content, dense.joint.size(0) - content)}) {
    const double energy = part.numel() == 0 ? 0.0 : model::energy_of(part, c);
    // Per row, so that keys weigh as much less than values as they have fewer channels.
    if (energy > 0) gram += part.t().matmul(part) * (static_cast<double>(part.size(0)) / energy);
  }
  const auto [values, vectors] = at::linalg_eigh(c);
  const at::Tensor root = vectors * values.clamp_min(0.0).sqrt();
  const at::Tensor found =
      at::linalg_eigvalsh(root.t().matmul(gram).matmul(root)).clamp_min(0.0).flip({0});
  const at::Tensor shares = (found / found.sum().clamp_min(1e-300)).contiguous();
  const double* first = shares.const_data_ptr<double>();
  return {first, first + shares.numel()};
}

}  // namespace

std::vector<int64_t> spend_ranks(const std::vector<std::vector<double>>& energies,
                                 int64_t total,
                                 int64_t least,
                                 int64_t most) {
  std::vector<int64_t> ranks(energies.size(), least);
  std::priority_queue<std::pair<double, int64_t>> next;  // what one more rank would keep, −layer
  const auto offer = [&](size_t layer) {
    const int64_t rank = ranks[layer];
    if (rank >= most || rank >= static_cast<int64_t>(energies[layer].size())) return;
    next.emplace(energies[layer][static_cast<size_t>(rank)], -static_cast<int64_t>(layer));
  };
  for (size_t layer = 0; layer < ranks.size(); ++layer) offer(layer);
  int64_t left = total - least * static_cast<int64_t>(ranks.size());
  for (; left > 0 && !next.empty(); --left) {
    const auto layer = static_cast<size_t>(-next.top().second);
    next.pop();
    ++ranks[layer];
    offer(layer);
  }
  return ranks;
}

std::vector<int64_t> rank_budget(const model::ModelConfig& mla,
                                 const std::map<std::string, at::Tensor>& dense,
                                 const std::vector<model::LayerMoments>& moments) {
  std::vector<std::vector<double>> energies(static_cast<size_t>(mla.num_layers));
  model::side_by_side(mla.num_layers, [&](int64_t layer) {
    const auto index = static_cast<size_t>(layer);
    const model::LayerToConvert from{.mla = mla,
                                     .dense = dense,
                                     .layer = layer,
                                     .seed = 0,
                                     .moments = nullptr,
                                     .shared = nullptr};
    energies[index] = balanced_energies(
        model::dense_layer(from),
        moments.empty() ? at::Tensor() : model::input_moment(moments[index].keys));
  });
  int64_t total = 0;
  for (int64_t layer = 0; layer < mla.num_layers; ++layer) total += mla.kv_lora_rank.at(layer);
  const int64_t mean = total / mla.num_layers;
  return spend_ranks(energies, total, std::max<int64_t>(1, mean / 2), 2 * mean);
}

}  // namespace vmla::analysis
