#include "trainer/roles/train_checkpoint.h"

#include "model/io/error.h"
#include "trainer/config/config_yaml.h"

namespace vmla::trainer {
namespace {

// Optimizer state is saved as a role of its own, the number of updates as a counter
// (docs/formats.md).
std::string optimizer_role(const std::string& role) {
  return role + ".optimizer";
}
std::string updates_counter(const std::string& role) {
  return role + ".updates";
}

int64_t counter(const CheckpointInfo& saved, const std::string& name) {
  const auto found = saved.counters.find(name);
  if (found == saved.counters.end())
    fail_run("the checkpoint of step {} lacks the counter {}", saved.step, name);
  return found->second;
}

}  // namespace

CheckpointShare training_share(const TrainConfig& config,
                               const RoleSet& roles,
                               const TrainState& state,
                               const MediaInfo& media,
                               const distributed::Communicator& replicas) {
  const auto part = [&](const PieceMap& pieces) {
    return cut_pieces(pieces, replicas.rank(), replicas.size());
  };
  CheckpointShare share;
  share.step = state.step;
  share.stage = config.stage;
  share.config_yaml = resolved_yaml(config);
  share.model = config.model;
  share.init_method = roles.init_method;
  // The position is there twice: as a counter, which resuming reads, and beside seed and dataset,
  // which say to people and tools what it is a position in.
  share.counters["samples_seen"] = state.samples_seen;
  if (state.unobserved) share.counters["unobserved"] = 1;
  share.data_position["samples_seen"] = state.samples_seen;
  share.data_position["seed"] = config.seed;
  share.data_position["dataset"] = config.data.path;
  write_media_info(media, share.data_position);
  write_origin(roles.origin, share.data_position);
  for (const RoleState& role : roles.states) {
    if (!role.weights) continue;  // frozen roles are read again from where they came
    const std::string& name = role.role.name;
    if (role.shuttle) role.shuttle->wait();
    share.roles[name] = part(held_pieces(*role.weights));
    // Roles with sizes of their own; share.model holds those of all others.
    if (role.role.is_score) share.role_models[name] = role.config;
    if (!role.optimizer) continue;
    share.roles[optimizer_role(name)] = part(role.optimizer->state(*role.weights));
    share.counters[updates_counter(name)] = role.optimizer->updates();
  }
  return share;
}

TrainState restore_training(const SavedStage& saved, RoleSet& roles) {
  for (RoleState& role : roles.states) {
    if (!role.optimizer) continue;
    const std::string name = optimizer_role(role.role.name);
    if (!saved.tensors->folder().manifest.roles.contains(name)) {
      fail_user(
          "the checkpoint of step {} holds no optimizer state of {}, so it cannot be resumed; "
          "start "
          "from it in another --run-dir (init_from)",
          saved.info.step,
          role.role.name);
    }
    read_pieces(*saved.tensors, name, role.optimizer->state(*role.weights));
    role.optimizer->resume_after(counter(saved.info, updates_counter(role.role.name)));
  }
  return {.step = saved.info.step,
          .samples_seen = counter(saved.info, "samples_seen"),
          .unobserved = saved.info.counters.contains("unobserved")};
}

}  // namespace vmla::trainer
