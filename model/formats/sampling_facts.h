#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

/// How a trained model is sampled, and the JSON in which exports keep it. No LibTorch here.
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

/// The JSON object of docs/formats.md "Exports": sampling.json, and `sampling` of a manifest.
std::string sampling_json(const SamplingFacts& facts);

/// What sampling_json() wrote. UserError names `file_name` and the key: a missing or unknown
/// sampler, values of another type, and numbers that are none of a noise schedule.
SamplingFacts parse_sampling_json(std::string_view text, const std::string& file_name);

}  // namespace vmla::model
