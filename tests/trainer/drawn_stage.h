#pragma once

#include "model/codec/video_codec.h"
#include "model/io/error.h"
#include "model/weights/weights.h"
#include "trainer/config/config_yaml.h"
#include "trainer/inputs/planned_media.h"
#include "trainer/objectives/objective.h"
#include "trainer/planner/planned_roles.h"

#include <ATen/ATen.h>

#include <memory>
#include <string>

/// Stages of configs/tiny on the CPU with drawn weights and blank clips: all that memory depends
/// on.
namespace vmla::trainer {

/// The latents of the tiny clips, with other lengths if a test wants them.
inline ClipShape tiny_clip(int64_t frames = 9) {
  return {frames, 12, 8, 8};
}

/// What a plan of a stage with such clips is given.
inline PlannedMedia tiny_media(const TrainConfig& config, int64_t frames = 9) {
  return {.clip = tiny_clip(frames), .codec = config.data.make.codec};
}

/// The stage of configs/tiny/`file`; sizes are those of its section `model` and of dense twins.
inline TrainConfig tiny_stage(const std::string& file, const std::vector<std::string>& set = {}) {
  TrainConfig config = load_config(formatted("{}/tiny/{}", VMLA_CONFIG_DIR, file), set);
  config.init_from.clear();
  return config;
}

/// The stage's objective, with the codec of the tiny clips.
inline std::unique_ptr<Objective> objective_of(const TrainConfig& config) {
  auto objective = make_objective(config.objective, config.model);
  objective->use_codec(model::make_video_codec(config.data.make.codec));
  return objective;
}

inline RoleSet drawn_roles(const TrainConfig& config, const std::vector<PlannedRole>& planned) {
  RoleSet set;
  for (const PlannedRole& p : planned) {
    const auto weights = model::random_weights(p.config, 1);
    set.states.push_back(
        make_role_state(config, p.role, p.config, weights, at::kCPU, distributed::Mesh()));
  }
  return set;
}

/// A batch as the loader makes it, without what it holds.
inline model::TensorMap blank_batch(const TrainConfig& config, const ClipShape& clip) {
  const int64_t count = config.train.micro_batch_size;
  model::TensorMap batch;
  batch["text"] = at::zeros({count, config.model.text_len, config.model.text_dim});
  batch["clean_latents"] = at::zeros({count, clip.frames, clip.channels, clip.height, clip.width});
  if (config.objective.name == "ode_regression") {
    const auto steps =
        static_cast<int64_t>(config.objective.ode_regression.denoising_step_list.size());
    batch["ode_states"] =
        at::zeros({count, steps + 1, clip.frames, clip.channels, clip.height, clip.width});
  }
  return batch;
}

/// Everything a player's evaluate() reads at `step`.
inline model::TensorMap blank_inputs(const TrainConfig& config,
                                     const Objective& objective,
                                     const std::string& player,
                                     const ClipShape& clip,
                                     int64_t step) {
  model::TensorMap inputs = blank_batch(config, clip);
  inputs["negative_text"] = at::zeros({1, config.model.text_len, config.model.text_dim});
  inputs.merge(objective.draws(
      player,
      clip,
      {.seed = 1, .step = step, .first_sample = 0, .batch = config.train.micro_batch_size}));
  return inputs;
}

}  // namespace vmla::trainer
