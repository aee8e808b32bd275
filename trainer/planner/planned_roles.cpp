#include "trainer/planner/planned_roles.h"

#include "model/config/dense_twin.h"
#include "model/formats/load_weights.h"
#include "trainer/config/rank_arrangement.h"
#include "trainer/config/score_fit.h"
#include "trainer/distributed/sharding/unit_cut.h"
#include "trainer/roles/stage_precision.h"
#include "trainer/telemetry/tensor_memory.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <filesystem>

namespace vmla::trainer {
namespace {

/// The entry of init_from that a role's weights come from; null: none.
const InitSource* source_of(const TrainConfig& config, const Role& role) {
  const auto found = config.init_from.find(source_role(config, role));
  return found == config.init_from.end() ? nullptr : &found->second;
}

bool all_fp32(const model::TensorMap& tensors) {
  return std::ranges::all_of(
      tensors, [](const auto& named) { return named.second.scalar_type() == at::kFloat; });
}

/// A role of the configuration. Its weights' files, where they exist, are opened for their headers
/// alone.
PlannedRole planned_role(const TrainConfig& config, const Role& role) {
  PlannedRole planned{.role = role, .config = config.model, .sizes_from = "model"};
  const InitSource* source = source_of(config, role);
  const bool computes_as_stored =
      config.train.device == "cpu" && compute_dtype(config) == at::kFloat;
  // Frozen fp32 weights of a file are used as they are mapped when a CPU computes in fp32.
  // Checkpoints hold fp32, so that is what a file is taken for until it is there.
  planned.mapped = role.training == Training::kFrozen && computes_as_stored && source;
  if (source && std::filesystem::exists(source->path)) {
    const model::LoadedWeights weights = model::read_weights(source->path, source->role);
    // Conversion from dense to latent attention makes new tensors.
    const bool converted = !role.is_score && weights.config.is_mla() != config.model.is_mla();
    planned.mapped = planned.mapped && !converted && all_fp32(weights.tensors);
    if (role.is_score) {
      planned.config = score_config(*source, weights);
      planned.sizes_from = weights.source;
      require_score_fits(role.name, config.model, planned.config, weights.source);
    }
  } else if (role.is_score && source && !source->preset.empty()) {
    planned.config = model::model_preset(source->preset);
    planned.sizes_from = "preset " + source->preset;
  } else if (role.is_score) {
    planned.config = model::dense_twin(config.model);
    planned.sizes_from = "assumed: a dense twin of the generator";
  }
  return planned;
}

}  // namespace

const char* training_name(Training training) {
  return training == Training::kTrained  ? "trained"
         : training == Training::kFrozen ? "frozen"
                                         : "average";
}

std::vector<PlannedRole> planned_roles(const TrainConfig& config, const std::vector<Role>& roles) {
  std::vector<PlannedRole> planned;
  for (const Role& role : roles) planned.push_back(planned_role(config, role));
  return planned;
}

std::vector<PlannedRole> planned_roles(const RoleSet& set) {
  std::vector<PlannedRole> planned;
  for (const RoleState& state : set.states) {
    PlannedRole role{.role = state.role, .config = state.config, .sizes_from = "its weights"};
    if (dynamic_cast<const model::FrozenWeights*>(state.frozen.get()) != nullptr) {
      // What is mapped is not among the tensors that are counted.
      const at::Tensor matrix = state.frozen->acquire(model::kRootUnit).front();
      role.mapped = matrix.is_cpu() && !is_counted(matrix);
    }
    planned.push_back(std::move(role));
  }
  return planned;
}

RoleModels role_models(const std::vector<PlannedRole>& roles) {
  RoleModels models;
  for (const PlannedRole& role : roles) models.emplace(role.role.name, role.config);
  return models;
}

RoleBytes role_bytes(const TrainConfig& config,
                     const PlannedRole& role,
                     const distributed::MeshShape& mesh) {
  RoleBytes bytes;
  const at::ScalarType master = input_dtype(config), compute = compute_dtype(config);
  const auto size_of = [](at::ScalarType dtype) {
    return static_cast<int64_t>(c10::elementSize(dtype));
  };
  const bool frozen = role.role.training == Training::kFrozen;
  const bool cut = mesh.shard > 1 && (!frozen || cuts_used_weights(config));
  const int64_t ranks = cut ? mesh.shard : 1;
  int64_t own = 0, whole = 0;  // elements: of this rank's parts, and of what they are gathered to
  int64_t own_computed = 0, whole_computed = 0;  // bytes in the dtypes of computation
  for (const int64_t unit : model::all_units(role.config)) {
    const auto layout = model::unit_layout(role.config, unit);
    const distributed::UnitCut parts =
        distributed::cut_unit(layout, {.compute = compute, .exact = master}, {.size = ranks});
    for (const auto& buffer : parts.buffers) {
      const int64_t gathered = buffer.part_numel * ranks;
      bytes.parameters += buffer.numel;
      own += buffer.part_numel;
      whole += gathered;
      own_computed += buffer.part_numel * size_of(buffer.dtype);
      whole_computed += gathered * size_of(buffer.dtype);
    }
  }
  if (frozen) {
    bytes.computing = cut ? own_computed : whole_computed;
    bytes.mapped = role.mapped && !cut ? whole_computed : 0;
    if (is_offloaded(config, role.role.name)) bytes.on_host = bytes.computing - bytes.mapped;
    return bytes;
  }
  // Whole masters have a copy only where the compute dtype is another. A cut role is gathered to
  // compute: what stays gathered counts here, what is dropped after use is seen by the step's
  // phases.
  bytes.masters = own * size_of(master);
  const int64_t copy = compute == master ? 0 : whole * size_of(compute);
  bytes.computing = !cut ? copy : stays_gathered(config, role.role) ? whole_computed : 0;
  if (role.role.training == Training::kEmaOf) {
    const bool offloaded = is_offloaded(config, role.role.name);
    // Whole masters in the host's memory are cast where they are brought to; what is gathered of
    // cut ones is on the device.
    if (!role.role.computes || (offloaded && !cut)) bytes.computing = 0;
    if (offloaded) bytes.on_host = bytes.masters;
    return bytes;
  }
  // This rank's part, in fp32 as the masters; where gradients are accumulated whole, these too.
  bytes.gradients = bytes.masters;
  if (cut && !scatters_gradients(config.distributed)) bytes.gradients += whole * size_of(master);
  bytes.second_moments = bytes.masters;
  const OptimizerConfig& optimizer = role.role.optimizer ? *role.role.optimizer : config.optimizer;
  if (optimizer.betas[0] != 0.0) bytes.first_moments = bytes.masters;
  if (is_offloaded(config, "optimizer")) bytes.on_host = bytes.first_moments + bytes.second_moments;
  return bytes;
}

RoleSet sizes_only_roles(const TrainConfig& config,
                         const std::vector<PlannedRole>& roles,
                         const distributed::Mesh& mesh) {
  const at::Device device(at::kMeta);
  RoleSet set;
  for (const PlannedRole& planned : roles) {
    model::TensorMap tensors;
    for (const int64_t unit : model::all_units(planned.config)) {
      for (const model::TensorSpec& spec : model::unit_layout(planned.config, unit))
        tensors[spec.name] = at::empty(spec.shape, at::device(device).dtype(at::kFloat));
    }
    set.states.push_back(
        make_role_state(config, planned.role, planned.config, tensors, device, mesh));
  }
  set.sequence = sequence_ranks(mesh);
  set.activations = host_activations(config, device);
  return set;
}

}  // namespace vmla::trainer
