#pragma once

#include "data/store/latent_dataset.h"
#include "trainer/config/train_config.h"
#include "trainer/inputs/media_info.h"
#include "trainer/objectives/objective.h"

#include <string>
#include <vector>

namespace vmla::trainer {

struct ValidationResult {
  double loss = 0;  // mean of the objective's loss over the clips
  std::vector<double>
      loss_by_time;  // unweighted squared error by bin of the timestep; NaN: no sample fell in it
};

/// Evaluates `player` on the first `validation.clips` held-out clips, `micro_batch` at a time, with
/// noise and timesteps that are the same at every step, for every role, in every run of the seed.
ValidationResult validate(const TrainConfig& config,
                          int64_t micro_batch,
                          Objective& objective,
                          const NetworkTable& networks,
                          const std::string& player,
                          const data::LatentDataset& clips,
                          const model::TensorMap& shared_inputs);

}  // namespace vmla::trainer
