#pragma once

#include <memory>
#include <optional>
#include <string>

#include "launch/shared_options.h"
#include "model/formats/load_weights.h"
#include "trainer/config/objective_config.h"
#include "trainer/inputs/media_info.h"

namespace vmla::launch {

/// A network that makes training data for another one, and what is known about it.
struct Teacher {
  model::LoadedWeights weights;
  model::ModelConfig config;
  std::string identity;  // hash of sizes and tensors: equal teachers make equal data
  // None, unless the weights are a checkpoint's:
  std::optional<trainer::MediaInfo> media;
  std::optional<trainer::ObjectiveTraits> objective;
};

/// Reads weights from anywhere (model/formats/load_weights.h); `role` is ema or raw.
Teacher open_teacher(const std::string& path, const std::string& role);

/// What decides a teacher's samples beside its weights and the prompts.
struct SamplingSettings {
  int64_t steps;
  double timestep_shift;
  double guidance_scale;
  std::string negative_prompt;
  int64_t seed;
  ComputeArgs compute;
};

/// The settings in words, with all digits: `16 steps, shift 5, guidance 2 against "", seed 0, fp32
/// on cpu`. A dataset carries this text, and an interrupted job goes on only under the same one.
std::string described(const SamplingSettings& settings);

}  // namespace vmla::launch
