#pragma once

#include "data/store/latent_dataset.h"
#include "model/conversion/calibration.h"
#include "model/formats/load_weights.h"
#include "trainer/config/train_config.h"
#include "trainer/distributed/collectives/communicator.h"

#include <vector>

namespace vmla::trainer {

/// `count` clips of the dataset (all, if it has fewer), spread over all of it, on train.device. The
/// dataset outlives the result. UserError for a dataset without latents or with another number of
/// channels than `dense` takes.
model::CalibrationSettings clips_to_run(const TrainConfig& config,
                                        const data::LatentDataset& clips,
                                        const model::ModelConfig& dense,
                                        int64_t count);

/// Second moments of what the layers of a dense model see on init.calibration_clips clips of the
/// dataset, spread over all of it, with the chunks and window of config.model (docs/algorithms.md
/// 5.5); on train.device. With a group, collective: its ranks share the clips and all have the sum.
/// UserError as clips_to_run.
std::vector<model::LayerMoments> calibrate(const TrainConfig& config,
                                           const data::LatentDataset& clips,
                                           const model::ModelConfig& dense,
                                           const model::TensorMap& tensors,
                                           distributed::Communicator* group = nullptr);

}  // namespace vmla::trainer
