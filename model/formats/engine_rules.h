#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/config/model_config.h"
#include "model/formats/sampling_facts.h"

/// What other programs make of our window and positions (docs/formats.md "Windows and positions of
/// other engines"). No LibTorch here.
namespace vmla::model {

/// What one engine must be told, and how far its frames are ours.
struct EngineNote {
  std::string engine;
  std::vector<std::pair<std::string, int64_t>> fields;  // its names for window, sink and chunk
  std::optional<int64_t> exact_frames;  // latent frames; none: any number; 0: not as a stream
  std::string why;
};

/// The engines that open an export of `format`, with the values of each in its own meaning.
std::vector<EngineNote> engine_notes(std::string_view format,
                                     const ModelConfig& config,
                                     const SamplingFacts& sampling);

}  // namespace vmla::model
