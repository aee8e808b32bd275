#pragma once

#include <filesystem>
#include <memory>

#include "trainer/inputs/stage_data.h"
#include "trainer/objectives/objective.h"
#include "trainer/roles/role_set.h"
#include "trainer/trainer.h"

/// A whole stage small enough to train in milliseconds: twelve clips of 6 x 3 x 4 x 4 latents on
/// disk, the network of small_networks.h, a few steps.
namespace vmla::trainer {

/// Writes `clips` clips to `path`: clip i holds the value i / 8 and the caption "caption i", whose
/// embedding has 1 to 3 rows of the value i + 1. With `captions`, one clip for each of them.
void write_small_clips(const std::filesystem::path& path,
                       int64_t clips = 12,
                       const std::vector<std::string>& captions = {});

/// A stage of the objective on the clips of `folder` (made when they are missing), with every
/// observer off.
TrainConfig small_stage(const std::filesystem::path& folder, const std::string& objective);

/// What a trainer needs, built from a configuration as run_stage builds it, on one process.
struct SmallStage {
  explicit SmallStage(const TrainConfig& config);

  /// The trainer of the run folder `run_dir`, from `state` on.
  std::unique_ptr<Trainer> trainer(const std::filesystem::path& run_dir,
                                   const TrainState& state = {});
  /// Goes on from the run folder's latest checkpoint: weights and optimizer state into `roles`.
  TrainState resume(const std::filesystem::path& run_dir);
  /// Copies of the trained weights of a role.
  std::map<std::string, at::Tensor> weights(const std::string& role);

  TrainConfig config;
  distributed::Mesh mesh;
  std::unique_ptr<Objective> objective;
  RoleSet roles;
  StageData data;
  VideoSampler sampler;

 private:
  std::filesystem::path run_dir_;
};

}  // namespace vmla::trainer
