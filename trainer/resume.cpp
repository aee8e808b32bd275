#include "trainer/resume.h"

#include "model/io/error.h"
#include "model/io/log.h"
#include "trainer/config/config_yaml.h"
#include "trainer/config/stage_roles.h"
#include "trainer/distributed/collectives/shared_text.h"
#include "trainer/roles/optimizer.h"
#include "trainer/roles/stage_origin.h"

#include <algorithm>

namespace vmla::trainer {
namespace {

/// Says where the learning rate of a role goes on from another point of its schedule than it was
/// on: one that ends at train.steps is stretched when the stage is made longer.
void log_rate_changes(const TrainConfig& before, const TrainConfig& now, int64_t step) {
  const std::vector<Role> old_roles = stage_roles(before);
  for (const Role& role : stage_roles(now)) {
    const auto old = std::ranges::find(old_roles, role.name, &Role::name);
    if (role.training != Training::kTrained || old == old_roles.end()) continue;
    const OptimizerConfig& then = old->optimizer ? *old->optimizer : before.optimizer;
    const OptimizerConfig& today = role.optimizer ? *role.optimizer : now.optimizer;
    const double kept = learning_rate(then, step, before.train.steps);
    const double rate = learning_rate(today, step, now.train.steps);
    if (rate == kept) continue;
    log::info(
        "{}: learning rate {:.3g} at step {}, {:.3g} from now on ({:.3g} with the schedule of "
        "before, which optimizer.schedule_steps={} keeps)",
        role.name,
        learning_rate(then, std::max<int64_t>(step - 1, 0), before.train.steps),
        step,
        rate,
        kept,
        then.schedule_steps > 0 ? then.schedule_steps : before.train.steps);
  }
}

}  // namespace

Resume open_checkpoint(const TrainConfig& config,
                       const std::filesystem::path& run_dir,
                       const std::string& resume,
                       const distributed::Mesh& mesh) {
  Resume found;
  found.checkpoint = open_resume(run_dir / "checkpoints", resume, mesh);
  if (!found.checkpoint) return found;
  const CheckpointInfo& info = found.checkpoint->info;
  found.saved = parse_resolved(info.config_yaml, "the checkpoint's config");
  found.differences =
      check_resume(found.saved,
                   config,
                   run_dir.string(),
                   known_by_content(read_origin(info.data_position), found.saved, config));
  return found;
}

data::DatasetIdentity checked_identity(const TrainConfig& config,
                                       const StageData& data,
                                       const std::optional<SavedStage>& checkpoint,
                                       const distributed::Mesh& mesh) {
  const data::DatasetIdentity mine = data.clips().identity();
  if (mesh.shape().world > 1) {
    const std::string lead = distributed::shared_text(mesh.host(), mine.hash);
    if (mine.hash != lead) {
      fail_user(
          "data.path: {} holds other clips on rank {} than on rank 0; give all ranks the same",
          config.data.path,
          mesh.rank());
    }
  }
  if (checkpoint) {
    expect_same_data(
        config, read_origin(checkpoint->info.data_position), mine, checkpoint->info.step);
  }
  return mine;
}

void log_changes(const Resume& resume, const TrainConfig& now) {
  for (const auto& d : resume.differences)
    log::info("  changed since the checkpoint: {} from {} to {}", d.key, d.saved, d.now);
  log_rate_changes(resume.saved, now, resume.checkpoint->info.step);
}

}  // namespace vmla::trainer
