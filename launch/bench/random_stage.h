#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "trainer/inputs/batch_source.h"
#include "trainer/inputs/planned_media.h"
#include "trainer/player_update.h"
#include "trainer/roles/role_set.h"

/// A stage of random numbers: what a step costs does not depend on what weights and clips say.
namespace vmla::launch::bench {

/// Random weights of a network of these sizes, by their Wan names: matrices of variance 1 / fan-in,
/// gains of 1, biases of 0; fp32, on `device`.
model::TensorMap random_tensors(const model::ModelConfig& config, at::Device device);

/// Builds what `vmla train` builds of a configuration, but reads neither weights nor clips, and
/// trains with the program's own updates. One process.
class RandomStage {
 public:
  /// UserError where the stage needs a codec whose weights data.codec_weights does not name.
  explicit RandomStage(const trainer::TrainConfig& config);

  /// The steps after which every player has been updated at least once; each of them updates the
  /// players whose turn it is. `before_writing`: PlayerUpdate::Watch.
  void cycle(const std::function<void()>& before_writing = [] {});
  int64_t cycle_steps() const;
  /// Seconds of the last cycle by phase.
  const std::map<std::string, double>& phases() const { return phases_; }
  /// Model FLOPs of a cycle, on average.
  double cycle_flops() const;

  const trainer::TrainConfig& config() const { return config_; }
  const trainer::PlannedMedia& media() const { return media_; }
  trainer::RoleSet& roles() { return roles_; }
  const trainer::TrainState& state() const { return state_; }
  at::Device device() const { return at::Device(config_.train.device); }

 private:
  void step(const std::function<void()>& before_writing);

  trainer::TrainConfig config_;
  std::filesystem::path folder_ = "a benchmark";  // for messages: nothing is written
  trainer::PlannedMedia media_;
  std::unique_ptr<trainer::Objective> objective_;
  trainer::RoleSet roles_;
  std::unique_ptr<trainer::BatchSource> clips_;
  trainer::StepTimer timer_;
  std::map<std::string, double> phases_;
  trainer::TrainState state_;
  distributed::Mesh mesh_;
  trainer::PlayerUpdate update_;
};

}  // namespace vmla::launch::bench
