#pragma once

#include <memory>
#include <string>

#include "model/codec/video_codec.h"
#include "tests/trainer/small_networks.h"
#include "trainer/objectives/objective.h"

/// The objective `dmd` on clips that the networks of small_networks.h evaluate in no time.
namespace vmla::trainer {

/// Three chunks of two frames.
inline constexpr ClipShape kClip{6, 3, 4, 4};

/// With the codec that front frames of later windows need.
inline std::unique_ptr<Objective> dmd(const DmdConfig& config) {
  auto objective = make_objective(config, small_model("mla"));
  objective->use_codec(model::make_video_codec("space_to_depth:1"));
  return objective;
}

/// Rollouts of more than two clips, scored in these windows ("last" or "all").
inline DmdConfig long_rollouts(const std::string& windows) {
  DmdConfig config;
  config.min_rollout_frames = config.max_rollout_frames = 14;
  config.scored_windows = windows;
  return config;
}

}  // namespace vmla::trainer
