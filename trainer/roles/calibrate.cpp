#include "trainer/roles/calibrate.h"

#include "model/io/error.h"
#include "model/io/log.h"
#include "model/weights/local_weights.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>

namespace vmla::trainer {
namespace {

void check_clips(const data::LatentDataset& clips, const model::ModelConfig& dense) {
  if (!clips.has_latents() || clips.size() == 0) {
    fail_user("the dataset to calibrate on holds prompts and no latents: give one with clips");
  }
  const auto& shape = clips.clip_shape(0);
  if (shape[1] != dense.in_dim) {
    fail_user("the dataset to calibrate on has {} latent channels, the dense model takes {}",
              shape[1],
              dense.in_dim);
  }
}

}  // namespace

model::CalibrationSettings clips_to_run(const TrainConfig& config,
                                        const data::LatentDataset& clips,
                                        const model::ModelConfig& dense,
                                        int64_t wanted) {
  check_clips(clips, dense);
  const int64_t count = std::min(wanted, clips.size());
  model::CalibrationSettings settings{
      .clips = count,
      .clip = {},
      .seed = static_cast<uint64_t>(config.seed),
      .timestep_shift = objective_traits(config.objective).timestep_shift};
  settings.clip = [&clips, count, device = at::Device(config.train.device)](int64_t index) {
    const int64_t clip = index * clips.size() / count;
    return model::CalibrationClip{clips.latents(clip).to(device), clips.text(clip).to(device)};
  };
  return settings;
}

std::vector<model::LayerMoments> calibrate(const TrainConfig& config,
                                           const data::LatentDataset& clips,
                                           const model::ModelConfig& dense,
                                           const model::TensorMap& tensors,
                                           distributed::Communicator* group) {
  const auto begin = std::chrono::steady_clock::now();
  model::CalibrationSettings settings =
      clips_to_run(config, clips, dense, config.init.calibration_clips);
  if (group) {
    settings.first = group->rank();
    settings.step = group->size();
  }
  const model::ModelConfig causal = model::causal_dense(dense, config.model);
  model::FrozenWeights weights(causal, tensors, "dense weights", at::Device(config.train.device));
  std::vector<model::LayerMoments> sums = model::moment_sums({causal, weights}, settings);
  for (const model::LayerMoments& sum : sums) {
    if (!group) break;
    group->all_reduce(sum.keys).wait();
    group->all_reduce(sum.queries).wait();
  }
  model::normalise(sums);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  log::info("calibrated on {} clips in {:.1f} s", settings.clips, seconds.count());
  return sums;
}

}  // namespace vmla::trainer
