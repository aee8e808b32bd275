#pragma once

#include "data/store/latent_dataset.h"
#include "trainer/config/train_config.h"
#include "trainer/distributed/collectives/mesh.h"
#include "trainer/inputs/media_info.h"
#include "trainer/objectives/objective.h"

#include <functional>
#include <string>
#include <vector>

namespace vmla::trainer {

struct ValidationResult {
  /// Mean of the objective's loss over the clips.
  double loss = 0;
  /// Mean squared error of the frames whose timestep lies in each of validation.time_bins equal
  /// bins of 0 ... 1000, without the loss weight. NaN where no frame fell into a bin; all of them
  /// NaN for an objective that reports no frame_loss.
  std::vector<double> loss_by_time;
};

/// Evaluates the network of the role `player` on the first `validation.clips` held-out clips,
/// without gradients, at most `micro_batch` at a time. Noise and timesteps are the same at every
/// step, for every role, and in every run with the same validation.seed, whatever its own seed.
/// `shared_inputs`: StageData::shared_inputs. The ranks of `mesh` divide the clips among them, in
/// smaller batches where they are many, and all have the result: with batches of one size the same
/// bits, else the same but for the order of sums. What `before_batch` throws ends it. Collective.
ValidationResult validate(const TrainConfig& config,
                          int64_t micro_batch,
                          Objective& objective,
                          const NetworkTable& networks,
                          const std::string& player,
                          const data::LatentDataset& clips,
                          const model::TensorMap& shared_inputs,
                          const distributed::Mesh& mesh,
                          const std::function<void()>& before_batch = {});

}  // namespace vmla::trainer
