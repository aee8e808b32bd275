#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "analysis/rank/rank_tracker.h"
#include "launch/bench/benchmarks.h"
#include "launch/bench/random_stage.h"
#include "model/config/dense_twin.h"
#include "model/conversion/init_methods.h"
#include "model/conversion/layer_conversion.h"
#include "model/conversion/mla_from_dense.h"
#include "model/io/error.h"
#include "model/io/format.h"

namespace vmla::launch::bench {
namespace {

using namespace trainer;

void expect_latent(const TrainConfig& config, const char* benchmark) {
  if (config.model.is_mla()) return;
  fail_user("bench {}: model.attention is {}; it needs a stage with latent attention (mla)",
            benchmark,
            config.model.attention);
}

/// init.method, which must factorise weights and need no clips.
std::string method_of(const TrainConfig& config) {
  const std::string& name = config.init.method;
  const model::InitMethod* const method = model::find_init_method(name);
  if (method != nullptr && method->factorises && !method->calibrates) return name;
  std::string known;
  for (const model::InitMethod& m : model::kInitMethods)
    if (m.factorises && !m.calibrates) known += (known.empty() ? "" : ", ") + std::string(m.name);
  fail_user("bench init: init.method is '{}'; it must factorise weights alone: {}", name, known);
}

std::string sizes_of(const model::ModelConfig& config) {
  return formatted(
      "{} layers of width {}, {} heads", config.num_layers, config.dim, config.num_heads);
}

/// What a method factorises of the first layer: the content rows of its keys, and its values.
at::Tensor joint_matrix(const model::ModelConfig& config, const model::TensorMap& dense) {
  const std::string layer = "blocks.0.self_attn.";
  const at::Tensor content = model::head_rows(config, 0).content;
  return at::cat(
      {dense.at(layer + "k.weight").index_select(0, content), dense.at(layer + "v.weight")});
}

}  // namespace

Outcome time_init(const Request& request) {
  const TrainConfig& config = request.config;
  expect_latent(config, "init");
  const std::string method = method_of(config);
  const model::ModelConfig dense = model::dense_twin(config.model);
  const model::TensorMap tensors = random_tensors(dense, at::kCPU);
  Row whole{.name = formatted("init.method {}, all layers", method)};
  model::MlaInit made;
  whole.runs = time_runs(at::kCPU, request.repeats, [&] {
    made = model::init_mla_from_dense(config.model, dense, tensors, method, 0);
  });
  whole.figures.emplace_back("layers", static_cast<double>(config.model.num_layers));
  Outcome outcome{.subject = sizes_of(dense), .rows = {whole}};
  // What the method factorises of a layer: keys with values, and queries.
  const at::Tensor joint = joint_matrix(config.model, tensors);
  const at::Tensor query = tensors.at("blocks.0.self_attn.q.weight");
  for (const auto dtype : {at::kFloat, at::kDouble}) {
    Row row{.name = formatted("torch.linalg.svd, {}, one layer", toString(dtype))};
    at::Tensor values;
    row.runs = time_runs(at::kCPU, {.warm_up = 0, .count = 1}, [&] {
      values = std::get<1>(at::linalg_svd(joint.to(dtype), /*full_matrices=*/false));
      at::linalg_svd(query.to(dtype), /*full_matrices=*/false);
    });
    // Of the first layer, where something is lost.
    const int64_t rank = made.layers.front().kv_rank;
    if (dtype == at::kDouble && rank < values.size(0)) {
      const double least = values.narrow(0, rank, values.size(0) - rank).norm().item<double>();
      outcome.rows.front().figures.emplace_back("error_above_optimal",
                                                made.layers.front().kv_error / least - 1);
    }
    row.figures.emplace_back("processor_ratio_all_layers",
                             processor_of(row).median *
                                 static_cast<double>(config.model.num_layers) /
                                 processor_of(whole).median);
    outcome.rows.push_back(std::move(row));
  }
  return outcome;
}

Outcome time_rank(const Request& request) {
  const TrainConfig& config = request.config;
  expect_latent(config, "rank");
  std::vector<analysis::LatentProjections> layers;
  for (int64_t layer = 0; layer < config.model.num_layers; ++layer) {
    const model::LayerDims d = model::layer_dims(config.model, layer);
    layers.push_back({.kv_b = at::randn({d.num_heads * (d.nope + d.v_head), d.kv_rank}).mul_(0.02),
                      .kv_gain = at::randn({d.kv_rank}).mul_(0.02).add_(1),
                      .kv_a = at::randn({d.kv_rank + d.rope, d.dim}).mul_(0.02)});
  }
  const analysis::RankTracker tracker;
  Row ours{.name = "ranks of all layers"};
  std::vector<analysis::LayerRank> ranks;
  ours.runs = time_runs(at::kCPU, request.repeats, [&] { ranks = tracker.measure(layers); });
  const at::Tensor map =
      layers.front().kv_b.matmul(layers.front().kv_a.narrow(0, 0, layers.front().kv_b.size(1)));
  Row peer{.name = "torch.linalg.svdvals, Float, one layer"};
  peer.runs = time_runs(at::kCPU, {.warm_up = 0, .count = 2}, [&] { at::linalg_svdvals(map); });
  peer.figures.emplace_back(
      "processor_ratio_all_layers",
      processor_of(peer).median * static_cast<double>(layers.size()) / processor_of(ours).median);
  Row exact{.name = "singular values of the composed map in fp64, one layer"};
  analysis::Spectrum full;
  exact.runs = time_runs(at::kCPU, {.warm_up = 0, .count = 1}, [&] {
    full = analysis::composed_spectrum_reference(layers.front());
  });
  const analysis::Spectrum& found = ranks.front().spectrum;
  double worst = 0;
  for (size_t i = 0; i < std::min(full.size(), found.size()); ++i)
    worst = std::max(worst, std::abs(found[i] - full[i]) / full.front());
  ours.figures.emplace_back("worst_difference_of_the_largest", worst);
  return {.subject = sizes_of(config.model), .rows = {ours, peer, exact}};
}

}  // namespace vmla::launch::bench
