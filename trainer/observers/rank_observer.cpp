#include "trainer/observers/rank_observer.h"

#include "model/io/error.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

namespace vmla::trainer {
namespace {

/// The factors of a layer's composed map W_kv_b diag(g_kv) W_kv_a (docs/algorithms.md 13.1), for
/// the rank tracker.
analysis::LatentProjections latent_projections(int64_t layer, const model::TensorMap& tensors) {
  const std::string prefix = formatted("blocks.{}.self_attn.", layer);
  return {.kv_b = tensors.at(prefix + "kv_b_proj.weight"),
          .kv_gain = tensors.at(prefix + "kv_a_layernorm.weight"),
          .kv_a = tensors.at(prefix + "kv_a_proj_with_mqa.weight")};
}

/// Copies on the CPU. A gathered unit's tensors are views of one buffer, which they would keep
/// alive: of all layers together that is the whole network.
analysis::LatentProjections on_host(const analysis::LatentProjections& layer) {
  const auto copy = [](const at::Tensor& tensor) { return tensor.to(at::kCPU).clone(); };
  return {.kv_b = copy(layer.kv_b), .kv_gain = copy(layer.kv_gain), .kv_a = copy(layer.kv_a)};
}

}  // namespace

RankObserver::RankObserver(const TrainConfig& config,
                           const std::filesystem::path& run_dir,
                           int64_t step,
                           const std::string& init_method,
                           const distributed::Mesh& mesh)
    : config_(config), file_(run_dir / "rank.h5"), mesh_(mesh), log_(init_method) {
  if (!mesh.is_lead() || step == 0 || !std::filesystem::exists(file_)) return;
  log_ = analysis::RankLog::read(file_);
  log_.cut_back(step);
}

void RankObserver::measure(int64_t step, RoleSet& roles) {
  if (config_.rank.every <= 0 || !config_.model.is_mla()) return;
  const at::NoGradGuard no_grad;
  model::TrainedWeights& weights = *roles.at("generator").weights;
  // Every rank gathers every layer, in the same order; the lead alone keeps what it measures.
  std::vector<analysis::LatentProjections> layers;
  for (int64_t layer = 0; layer < config_.model.num_layers; ++layer) {
    auto found = latent_projections(layer, weights.tensors_of(layer));
    if (!mesh_.is_lead()) continue;
    if (weights.is_gathered()) found = on_host(found);
    layers.push_back(std::move(found));
  }
  if (!mesh_.is_lead()) return;
  if (!log_.steps().empty() && log_.steps().back() >= step) return;
  // The same measures of a product of random matrices of these shapes, once a run: what a rank
  // close to the budget means is seen beside it (docs/algorithms.md 13.4).
  if (log_.null().empty()) {
    std::vector<analysis::LayerRank> null;
    for (const auto& layer : layers) null.push_back(tracker_.null_baseline(layer));
    log_.set_null(std::move(null));
  }
  log_.append(step, tracker_.measure(layers));
}

void RankObserver::write() const {
  if (mesh_.is_lead() && !log_.steps().empty()) log_.write(file_);
}

}  // namespace vmla::trainer
