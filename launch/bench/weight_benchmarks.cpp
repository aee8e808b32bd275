#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

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

struct Timed {
  Row row;
  std::function<void()> run;
};

/// Fills the rows' runs. Each round runs all of them, one after another: a machine that is slower
/// for a while is so for all.
void time_in_turn(std::vector<Timed>& all, const Repeats& repeats) {
  for (int64_t i = 0; i < repeats.warm_up + repeats.count; ++i) {
    for (Timed& one : all) {
      const Seconds taken = time_runs(at::kCPU, {.warm_up = 0, .count = 1}, one.run).front();
      if (i >= repeats.warm_up) one.row.runs.push_back(taken);
    }
  }
}

/// Processor time of `peer`, which did one layer of `layers`, over that of `ours`, which did them
/// all: median over the rounds, least and most.
void add_ratio(const Row& ours, int64_t layers, Row& peer) {
  std::vector<double> ratios;
  for (size_t i = 0; i < peer.runs.size(); ++i)
    ratios.push_back(peer.runs[i].processor * static_cast<double>(layers) /
                     ours.runs.at(i).processor);
  const Spread spread = spread_of(ratios);
  peer.figures.emplace_back("processor_ratio_all_layers", spread.median);
  peer.figures.emplace_back("processor_ratio_least", spread.least);
  peer.figures.emplace_back("processor_ratio_most", spread.most);
}

}  // namespace

Outcome time_init(const Request& request) {
  const TrainConfig& config = request.config;
  expect_latent(config, "init");
  const std::string method = method_of(config);
  const model::ModelConfig dense = model::dense_twin(config.model);
  const model::TensorMap tensors = random_tensors(dense, at::kCPU);
  // What the method factorises of a layer: keys with values, and queries.
  const at::Tensor joint = joint_matrix(config.model, tensors);
  const at::Tensor query = tensors.at("blocks.0.self_attn.q.weight");
  model::MlaInit made;
  at::Tensor values;  // singular ones, in fp64
  const auto of_one_layer = [&](at::ScalarType dtype) {
    const auto [u, s, vt] = at::linalg_svd(joint.to(dtype), /*full_matrices=*/false);
    if (dtype == at::kDouble) values = s;
    at::linalg_svd(query.to(dtype), /*full_matrices=*/false);
  };
  std::vector<Timed> timed = {
      {{.name = formatted("init.method {}, all layers", method)},
       [&] { made = model::init_mla_from_dense(config.model, dense, tensors, method, 0); }},
      {{.name = "torch.linalg.svd, Float, one layer"}, [&] { of_one_layer(at::kFloat); }},
      {{.name = "torch.linalg.svd, Double, one layer"}, [&] { of_one_layer(at::kDouble); }}};
  time_in_turn(timed, request.repeats);
  Row& ours = timed.front().row;
  ours.figures.emplace_back("layers", static_cast<double>(config.model.num_layers));
  // Of the first layer, where something is lost.
  const int64_t rank = made.layers.front().kv_rank;
  if (rank < values.size(0)) {
    const double least = values.narrow(0, rank, values.size(0) - rank).norm().item<double>();
    ours.figures.emplace_back("error_above_optimal", made.layers.front().kv_error / least - 1);
  }
  Outcome outcome{.subject = sizes_of(dense), .rows = {ours}};
  for (size_t i = 1; i < timed.size(); ++i) {
    add_ratio(ours, config.model.num_layers, timed[i].row);
    outcome.rows.push_back(timed[i].row);
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
  const at::Tensor map =
      layers.front().kv_b.matmul(layers.front().kv_a.narrow(0, 0, layers.front().kv_b.size(1)));
  std::vector<analysis::LayerRank> ranks;
  std::vector<Timed> timed = {
      {{.name = "ranks of all layers"}, [&] { ranks = tracker.measure(layers); }},
      {{.name = "torch.linalg.svdvals, Float, one layer"}, [&] { at::linalg_svdvals(map); }}};
  time_in_turn(timed, request.repeats);
  Row &ours = timed[0].row, &peer = timed[1].row;
  add_ratio(ours, config.model.num_layers, peer);
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
