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

int64_t counter(const CheckpointData& checkpoint, const std::string& name) {
  const auto found = checkpoint.counters.find(name);
  if (found == checkpoint.counters.end())
    fail_run("the checkpoint of step ", checkpoint.step, " lacks the counter ", name);
  return found->second;
}

}  // namespace

void save_training(const TrainConfig& config,
                   const std::filesystem::path& checkpoints,
                   const RoleSet& roles,
                   const TrainState& state,
                   const MediaInfo& media) {
  CheckpointData data;
  data.step = state.step;
  data.stage = config.stage;
  data.config_yaml = resolved_yaml(config);
  data.model = config.model;
  data.init_method = config.init.method;
  data.counters["samples_seen"] = state.samples_seen;
  data.data_position["samples_seen"] = state.samples_seen;
  data.data_position["seed"] = config.seed;
  data.data_position["dataset"] = config.data.path;
  write_media_info(media, data.data_position);
  for (const RoleState& role : roles.states) {
    if (!role.weights) continue;  // frozen roles are read again from where they came
    data.roles[role.role.name] = role.weights->tensors();
    if (role.role.is_score) data.role_models[role.role.name] = role.config;
    if (!role.optimizer) continue;
    data.roles[optimizer_role(role.role.name)] = role.optimizer->state(*role.weights);
    data.counters[updates_counter(role.role.name)] = role.optimizer->updates();
  }
  save_checkpoint(checkpoints, data);
  prune_checkpoints(checkpoints, config.checkpoint.keep_last, config.checkpoint.keep_every);
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
    role.optimizer->load(
        *role.weights, saved->second, counter(checkpoint, updates_counter(role.role.name)));
  }
  return {.step = checkpoint.step, .samples_seen = counter(checkpoint, "samples_seen")};
}

}  // namespace vmla::trainer
