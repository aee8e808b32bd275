#include "trainer/checkpoint/saved_stage.h"

#include "model/io/error.h"
#include "model/io/log.h"
#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/distributed/collectives/shared_text.h"

#include <ATen/ATen.h>

namespace vmla::trainer {
namespace {

namespace fs = std::filesystem;

Readers readers_of(const distributed::Mesh& mesh) {
  const auto all = [&mesh](bool mine) { return mesh.everywhere(mine); };
  const auto first_says = [&mesh](const std::string& mine) {
    return distributed::shared_text(mesh.host(), mine);
  };
  return {.index = mesh.rank(), .count = mesh.shape().world, .first_says = first_says, .all = all};
}

std::optional<fs::path> newest_intact(const fs::path& checkpoints, const distributed::Mesh& mesh) {
  std::vector<std::string> complaints;
  const auto newest = newest_intact_checkpoint(checkpoints, &complaints, readers_of(mesh));
  if (!mesh.is_lead()) return newest;
  const bool none_left = !newest && !complaints.empty();  // the error then says the first complaint
  for (size_t i = none_left ? 1 : 0; i < complaints.size(); ++i) log::warn(complaints[i]);
  if (none_left) {
    // Starting over would bury what is left of the run.
    fail_user("{}: no checkpoint is intact ({}): repair one, or give another --run-dir",
              checkpoints.string(),
              complaints.front());
  }
  return newest;
}

}  // namespace

std::optional<SavedStage> open_resume(const fs::path& checkpoints,
                                      const std::string& resume,
                                      const distributed::Mesh& mesh) {
  if (resume == "never") {
    if (mesh.is_lead() && !list_checkpoints(checkpoints).empty()) {
      fail_user(
          "{} already holds checkpoints: resume them (--resume auto), or give another --run-dir",
          checkpoints.string());
    }
    return std::nullopt;
  }
  std::optional<fs::path> path = resume;
  if (resume == "auto") path = newest_intact(checkpoints, mesh);
  if (!path) return std::nullopt;
  const model::CheckpointFolder folder = model::open_checkpoint(*path);
  if (resume != "auto") model::verify_share(folder, mesh.rank(), mesh.shape().world);
  return SavedStage{checkpoint_info(folder), std::make_unique<model::CheckpointRanges>(folder)};
}

}  // namespace vmla::trainer
