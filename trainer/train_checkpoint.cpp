#include "trainer/train_checkpoint.h"

#include "model/io/error.h"
#include "model/io/log.h"
#include "trainer/config_yaml.h"

namespace vmla::trainer {
namespace fs = std::filesystem;
namespace {

std::string optimizer_role(const std::string& role) {
  return role + ".optimizer";
}
std::string updates_counter(const std::string& role) {
  return role + ".updates";
}

/// What this process holds of a role's masters.
PieceMap held_pieces(model::TrainedWeights& weights) {
  PieceMap pieces;
  for (const int64_t unit : weights.units())
    pieces.merge(unit_pieces(weights.layout(unit), weights.part(unit), weights.master(unit)));
  return pieces;
}

int64_t counter(const CheckpointData& checkpoint, const std::string& name) {
  const auto found = checkpoint.counters.find(name);
  if (found == checkpoint.counters.end())
    fail_run("the checkpoint of step ", checkpoint.step, " lacks the counter ", name);
  return found->second;
}

}  // namespace

CheckpointShare training_share(const TrainConfig& config,
                               const RoleSet& roles,
                               const TrainState& state,
                               const MediaInfo& media,
                               bool writes) {
  CheckpointShare share;
  share.step = state.step;
  share.stage = config.stage;
  share.config_yaml = resolved_yaml(config);
  share.model = config.model;
  share.init_method = config.init.method;
  share.counters["samples_seen"] = state.samples_seen;
  share.data_position["samples_seen"] = state.samples_seen;
  share.data_position["seed"] = config.seed;
  share.data_position["dataset"] = config.data.path;
  write_media_info(media, share.data_position);
  for (const RoleState& role : roles.states) {
    if (!role.weights) continue;  // frozen roles are read again from where they came
    const std::string& name = role.role.name;
    share.roles[name] = writes ? held_pieces(*role.weights) : PieceMap{};
    if (role.role.is_score) share.role_models[name] = role.config;
    if (!role.optimizer) continue;
    share.roles[optimizer_role(name)] = writes ? role.optimizer->state(*role.weights) : PieceMap{};
    share.counters[updates_counter(name)] = role.optimizer->updates();
  }
  return share;
}

std::optional<fs::path> find_resume(const std::filesystem::path& checkpoints,
                                    const std::string& resume) {
  if (resume == "never") {
    if (!list_checkpoints(checkpoints).empty()) {
      fail_user(
          checkpoints.string(),
          " already holds checkpoints: resume them (--resume auto), or give another --run-dir");
    }
    return std::nullopt;
  }
  if (resume != "auto") return resume;
  std::vector<std::string> complaints;
  const auto newest = newest_intact_checkpoint(checkpoints, &complaints);
  for (const std::string& complaint : complaints) log::warn(complaint);
  if (!newest) {
    // Starting over would bury what is left of the run.
    if (!complaints.empty()) {
      fail_user(checkpoints.string(),
                ": no checkpoint is intact (",
                complaints.front(),
                "): repair one, or give another --run-dir");
    }
    return std::nullopt;
  }
  return newest;
}

TrainState restore_training(const CheckpointData& checkpoint, RoleSet& roles) {
  for (RoleState& role : roles.states) {
    if (!role.optimizer) continue;
    const auto saved = checkpoint.roles.find(optimizer_role(role.role.name));
    if (saved == checkpoint.roles.end()) {
      fail_user("the checkpoint of step ",
                checkpoint.step,
                " holds no optimizer state of ",
                role.role.name,
                ": it can be a start (init_from), not be resumed");
    }
    role.optimizer->load(*role.weights,
                         whole_pieces(saved->second),
                         counter(checkpoint, updates_counter(role.role.name)));
  }
  return {.step = checkpoint.step, .samples_seen = counter(checkpoint, "samples_seen")};
}

}  // namespace vmla::trainer
