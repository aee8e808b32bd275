#include "trainer/roles/role_set.h"

#include "model/io/error.h"
#include "model/weights/weights.h"
#include "trainer/config/rank_arrangement.h"
#include "trainer/distributed/sharding/sequence_ranks.h"
#include "trainer/distributed/sharding/shared_conversion.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <utility>

namespace vmla::trainer {
namespace {

/// The sizes of what the checkpoint holds of a role, as tensors that take no memory: one zero,
/// expanded. Values are read later, into the role's buffers, so that a rank reads no more than it
/// holds.
InitialWeights saved_weights(const CheckpointInfo& saved, const Role& role) {
  const auto own = saved.role_models.find(role.name);
  InitialWeights weights{.origin = formatted("checkpoint of step {}", saved.step),
                         .config = own == saved.role_models.end() ? saved.model : own->second};
  const at::Tensor zero = at::zeros({1});
  for (const int64_t unit : model::all_units(weights.config)) {
    for (const auto& spec : model::unit_layout(weights.config, unit))
      weights.tensors[spec.name] = zero.expand(spec.shape);
  }
  return weights;
}

/// Finds each role's initial weights. Roles that share a source share the tensors, which are read
/// and converted once.
class WeightReader {
 public:
  WeightReader(const TrainConfig& config,
               const SavedStage* saved,
               const distributed::Mesh& mesh,
               const Calibrate& calibrate)
      : config_(config),
        saved_(saved),
        origin_(saved ? read_origin(saved->info.data_position) : StageOrigin{}),
        convert_(distributed::convert_shared(mesh.host(), config.model)),
        calibrate_(calibrate) {}

  const InitialWeights& read(const Role& role) {
    if (is_saved(role)) return known_[role.name] = saved_weights(saved_->info, role);
    // An average stands behind the role that it copies, so that role is known.
    const bool copies = role.training == Training::kEmaOf && !config_.init_from.contains(role.name);
    if (copies) return known_.at(role.ema_of);
    // On resume what is known of a trained role has no values: a frozen one reads its own.
    const std::string source = source_role(config_, role);
    if (source != role.name && known_.contains(source) && !saved_)
      return known_[role.name] = known_.at(source);
    InitialWeights& weights = known_[role.name] =
        initial_weights(config_, role.name, source, convert_, calibrate_);
    if (weights.source_hash.empty()) return weights;
    if (saved_) {
      expect_same_source(
          config_, origin_, source, weights.source_hash, weights.origin, saved_->info.step);
    }
    origin_.sources[source] = weights.source_hash;
    return weights;
  }

  /// What was read; on resume also what the checkpoint says of sources that are not read again.
  const StageOrigin& origin() const { return origin_; }

  /// A checkpoint holds what the stage changes; frozen roles come from init_from each time.
  bool is_saved(const Role& role) const { return saved_ && role.training != Training::kFrozen; }

 private:
  const TrainConfig& config_;
  const SavedStage* saved_;
  StageOrigin origin_;
  model::ConvertLayers convert_;
  const Calibrate& calibrate_;
  std::map<std::string, InitialWeights> known_;
};

}  // namespace

const RoleState& RoleSet::at(const std::string& name) const {
  for (const RoleState& state : states) {
    if (state.role.name == name) return state;
  }
  TORCH_CHECK(false, "no role of this name: ", name);
}

RoleState& RoleSet::at(const std::string& name) {
  return const_cast<RoleState&>(std::as_const(*this).at(name));
}

bool RoleSet::has(const std::string& name) const {
  return std::ranges::any_of(states,
                             [&](const RoleState& state) { return state.role.name == name; });
}

RoleModels RoleSet::models() const {
  RoleModels models;
  for (const RoleState& state : states) models.emplace(state.role.name, state.config);
  return models;
}

model::Network RoleSet::network(const RoleState& state) const {
  return {state.config, state.source(), sequence.get(), activations.get()};
}

NetworkTable RoleSet::networks(const TrainConfig& config) const {
  const model::Recompute recompute = model::recompute_named(config.train.recompute);
  NetworkTable table;
  for (const RoleState& state : states) {
    table.emplace(state.role.name, RoleNetwork{network(state), recompute});
  }
  return table;
}

std::vector<MovingAverage> RoleSet::averages_of(const std::string& player, int64_t step) {
  std::vector<MovingAverage> averages;
  for (RoleState& state : states) {
    const Role& role = state.role;
    if (!role.follows(player)) continue;
    const double decay = step < role.ema_start_step ? 0.0 : role.ema_decay;
    averages.push_back({*state.weights, decay, state.shuttle.get(), state.uploaded.get()});
  }
  return averages;
}

void RoleSet::make_room_for_step() {
  for (RoleState& state : states) {
    if (!state.weights || state.role.computes) continue;
    state.weights->drop_copies();
    if (state.uploaded) state.uploaded->forget();
  }
}

void RoleSet::make_room_for_best() {
  const Role& role = best().role;
  if (role.computes) return;
  model::TrainedWeights& weights = *at(role.ema_of).weights;
  if (!weights.is_gathered()) weights.drop_copies();
}

const RoleState& RoleSet::best() const {
  for (const char* role : {"generator_ema", "target_ema"}) {
    if (has(role)) return at(role);
  }
  return at("generator");
}

std::unique_ptr<model::HostActivations> host_activations(const TrainConfig& config,
                                                         at::Device device) {
  if (!is_offloaded(config, "activations")) return nullptr;
  return std::make_unique<model::HostActivations>(device);
}

std::unique_ptr<model::SequenceGroup> sequence_ranks(const distributed::Mesh& mesh) {
  if (mesh.shape().sequence == 1) return nullptr;
  return std::make_unique<distributed::SequenceRanks>(mesh.sequence());
}

RoleSet build_roles(const TrainConfig& config,
                    const std::vector<Role>& roles,
                    const SavedStage* saved,
                    const distributed::Mesh& mesh,
                    const Calibrate& calibrate) {
  RoleSet set;
  set.sequence = sequence_ranks(mesh);
  const at::Device device(config.train.device);
  set.activations = host_activations(config, device);
  WeightReader reader(config, saved, mesh, calibrate);
  for (const Role& role : roles) {
    const InitialWeights& weights = reader.read(role);
    RoleState& state = set.states.emplace_back(
        make_role_state(config, role, weights.config, weights.tensors, device, mesh));
    if (reader.is_saved(role)) {
      read_pieces(*saved->tensors, role.name, held_pieces(*state.weights));
      state.weights->drop_copies();
    }
    if (role.name == "generator") {
      set.init_method = saved ? saved->info.init_method : weights.first_init_method;
    }
    if (role.name == "generator" && !saved) {
      set.generator_origin = weights;
      set.generator_origin.tensors.clear();  // the masters hold them now
    }
  }
  set.origin = reader.origin();
  return set;
}

}  // namespace vmla::trainer
