#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/config/model_config.h"

/// What other programs make of our window and positions (docs/formats.md "Windows and positions of
/// other engines"). No LibTorch here.
namespace vmla::model {

/// How a trained model is sampled, for what is written beside its weights.
struct SamplingFacts {
  bool causal = true;                       // chunk by chunk, against a cache
  std::string sampler = "few_step";         // few_step, unipc, euler
  std::vector<double> denoising_step_list;  // of few_step, before the shift
  // The same for a video's first chunk; empty: denoising_step_list.
  std::vector<double> first_chunk_denoising_step_list;
  int64_t steps = 50;  // of the many-step samplers
  double timestep_shift = 5.0;
  double guidance_scale = 1.0;
  double context_noise = 0.0;  // timestep of the pass that fills the cache
};

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
