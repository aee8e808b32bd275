#pragma once

#include <memory>
#include <optional>
#include <string>

#include "model/formats/load_weights.h"
#include "trainer/config/objective_config.h"
#include "trainer/inputs/media_info.h"

namespace vmla::launch {

/// A network that makes data for others, and what is known about it.
struct Teacher {
  model::LoadedWeights weights;
  model::ModelConfig config;
  std::string identity;  // hash of sizes and tensors: equal teachers make equal data
  // Of a checkpoint only:
  std::optional<trainer::MediaInfo> media;
  std::optional<trainer::ObjectiveTraits> objective;
};

/// Reads weights from anywhere (model/formats/load_weights.h); `role` is ema or raw.
Teacher open_teacher(const std::string& path, const std::string& role);

}  // namespace vmla::launch
