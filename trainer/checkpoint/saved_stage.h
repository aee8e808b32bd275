#pragma once

#include "model/formats/checkpoint_ranges.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/distributed/collectives/mesh.h"

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

namespace vmla::trainer {

/// An open checkpoint that a stage goes on from. Every rank reads from it what it holds itself.
struct SavedStage {
  CheckpointInfo info;
  std::unique_ptr<model::CheckpointRanges> tensors;
};

/// Opens the checkpoint to go on from: `resume` is "auto" (the newest intact one, if any), "never",
/// or a path. Collective: each rank compares the hashes of a share of the files. Damaged
/// checkpoints that are passed over are logged. UserError, on the rank that knows, when `never`
/// meets a run that has checkpoints, or `auto` one of which none is intact.
std::optional<SavedStage> open_resume(const std::filesystem::path& checkpoints,
                                      const std::string& resume,
                                      const distributed::Mesh& mesh);

}  // namespace vmla::trainer
