#include "trainer/observers/rank_observer.h"

#include "analysis/rank/joint_kv.h"
#include "analysis/rank/subspace.h"
#include "analysis/study/latent_activations.h"
#include "model/formats/safetensors.h"
#include "model/io/error.h"
#include "trainer/roles/stage_precision.h"
#include "trainer/telemetry/step_figures.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

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

/// What a dense layer's joint operator is made of.
analysis::DenseKv dense_kv(int64_t layer, const model::TensorMap& tensors) {
  const std::string prefix = formatted("blocks.{}.self_attn.", layer);
  return {.k = tensors.at(prefix + "k.weight"), .v = tensors.at(prefix + "v.weight")};
}

analysis::DenseKv on_host(const analysis::DenseKv& layer) {
  return {.k = layer.k.to(at::kCPU).clone(), .v = layer.v.to(at::kCPU).clone()};
}

/// rank.energy_at. Of a dense model whose configuration lists none an eighth of its width, the
/// share that 192 is of Wan 1.3B's 1536.
std::vector<int64_t> energy_ranks(const TrainConfig& config) {
  const bool by_default = config.rank.energy_at.empty() && !config.model.is_mla();
  return by_default ? std::vector<int64_t>{std::max<int64_t>(config.model.dim / 8, 1)}
                    : config.rank.energy_at;
}

/// Latents cost a forward pass of every clip, of eight clips ten to twenty times what the weights
/// cost, so they are looked at more rarely.
bool latents_are_due(const TrainConfig& config, int64_t step) {
  const RankConfig& rank = config.rank;
  const int64_t every = rank.activation_every > 0 ? rank.activation_every : 5 * rank.every;
  return rank.activation_clips > 0 && (step == 0 || due(every, step, config.train.steps));
}

std::string start_name(size_t layer) {
  return formatted("layer_{}", layer);
}

/// The rows of the down-projection that make the latent, [R, D].
at::Tensor latent_rows(const analysis::LatentProjections& layer) {
  return layer.kv_a.narrow(0, 0, layer.kv_b.size(1));
}

/// Empty where the file is not there, or is of other layers.
std::vector<at::Tensor> read_start(const std::filesystem::path& path, int64_t layers) {
  if (!std::filesystem::exists(path)) return {};
  const model::TensorMap tensors = model::read_safetensors(path).tensors;
  std::vector<at::Tensor> start;
  for (size_t layer = 0; layer < static_cast<size_t>(layers); ++layer) {
    const auto found = tensors.find(start_name(layer));
    if (found == tensors.end()) return {};
    start.push_back(found->second.to(at::kDouble));
  }
  return start;
}

}  // namespace

RankObserver::RankObserver(const TrainConfig& config,
                           const std::filesystem::path& run_dir,
                           int64_t step,
                           const std::string& init_method,
                           const distributed::Mesh& mesh)
    : config_(config),
      file_(run_dir / "rank.h5"),
      start_file_(run_dir / "rank_start.safetensors"),
      mesh_(mesh),
      log_(init_method) {
  if (!mesh.is_lead() || step == 0 || !std::filesystem::exists(file_)) return;
  log_ = analysis::RankLog::read(file_);
  log_.cut_back(step);
  start_ = read_start(start_file_, config.model.num_layers);
}

void RankObserver::measure(int64_t step, RoleSet& roles, const data::LatentDataset* held_out) {
  if (config_.rank.every <= 0) return;
  const at::NoGradGuard no_grad;
  log_.set_energy_ranks(energy_ranks(config_));
  if (config_.model.is_mla()) {
    measure_latent_attention(step, roles, held_out);
  } else {
    measure_dense(step, roles);
  }
}

template <class Layer>
std::vector<Layer> RankObserver::gather(RoleSet& roles,
                                        Layer (*layer_of)(int64_t, const model::TensorMap&)) const {
  model::TrainedWeights& weights = *roles.at("generator").weights;
  // Every rank gathers every layer, in the same order; the lead alone keeps what it measures.
  std::vector<Layer> layers;
  for (int64_t layer = 0; layer < config_.model.num_layers; ++layer) {
    Layer found = layer_of(layer, weights.tensors_of(layer));
    if (!mesh_.is_lead()) continue;
    if (weights.is_gathered()) found = on_host(found);
    layers.push_back(std::move(found));
  }
  return layers;
}

bool RankObserver::has_measured(int64_t step) const {
  return !log_.steps().empty() && log_.steps().back() >= step;
}

void RankObserver::measure_latent_attention(int64_t step,
                                            RoleSet& roles,
                                            const data::LatentDataset* held_out) {
  const std::vector<analysis::LatentProjections> layers = gather(roles, latent_projections);
  std::vector<analysis::LatentStatistics> latents;
  if (held_out != nullptr && latents_are_due(config_, step)) {
    const at::TensorOptions inputs =
        at::TensorOptions().dtype(input_dtype(config_)).device(at::Device(config_.train.device));
    latents = analysis::measure_latents(
        roles.network(roles.at("generator")), *held_out, config_.rank.activation_clips, inputs);
  }
  if (!mesh_.is_lead() || has_measured(step)) return;
  begin(layers, step);
  log_.append(step, tracker_.measure(layers), extras(layers, latents));
}

/// Nulls twice: at first, so that a run that is under way has some, and of the weights that it ends
/// with, whose ranks its summary says.
void RankObserver::measure_dense(int64_t step, RoleSet& roles) {
  const std::vector<analysis::DenseKv> layers = gather(roles, dense_kv);
  if (!mesh_.is_lead() || has_measured(step)) return;
  if (log_.nulls().gaussian.empty() || step == config_.train.steps)
    log_.set_nulls(analysis::joint_nulls(layers, step));
  log_.append(step, analysis::measure_joint(layers));
}

/// What is computed once a run. Nulls: what layers without structure have is seen beside what is
/// measured (docs/algorithms.md 13.4). And where the stage began, in a file of its own, for a run
/// that goes on.
void RankObserver::begin(const std::vector<analysis::LatentProjections>& layers, int64_t step) {
  if (log_.nulls().truncated.empty()) log_.set_nulls(tracker_.nulls(layers, step));
  if (step > 0) return;
  model::TensorMap tensors;
  start_.clear();
  for (const analysis::LatentProjections& layer : layers) {
    const at::Tensor basis_RD = analysis::row_space(latent_rows(layer)).to(at::kFloat);
    tensors.emplace(start_name(start_.size()), basis_RD);
    start_.push_back(basis_RD.to(at::kDouble));
  }
  model::write_safetensors(start_file_, tensors);
}

analysis::RankExtras RankObserver::extras(
    const std::vector<analysis::LatentProjections>& layers,
    const std::vector<analysis::LatentStatistics>& latents) const {
  analysis::RankExtras extras;
  for (size_t layer = 0; layer < latents.size(); ++layer) {
    extras.latents.push_back(latents[layer].latents());
    extras.content.push_back(latents[layer].content(layers[layer].kv_b));
  }
  for (size_t layer = 0; layer < start_.size(); ++layer) {
    extras.cosines.push_back(analysis::principal_cosines(
        analysis::row_space(latent_rows(layers[layer])), start_[layer]));
  }
  return extras;
}

void RankObserver::write() const {
  if (mesh_.is_lead() && !log_.steps().empty()) log_.write(file_);
}

}  // namespace vmla::trainer
