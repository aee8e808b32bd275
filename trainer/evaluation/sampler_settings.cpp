#include "trainer/evaluation/sampler_settings.h"

#include "data/encode/prompt_file.h"

namespace vmla::trainer {

std::vector<std::string> sample_prompts(const SampleConfig& config) {
  return config.prompts.file.empty() ? config.prompts.list
                                     : data::read_prompt_file(config.prompts.file);
}

model::SamplerSettings sampler_settings(const SampleConfig& config, const ObjectiveTraits& traits) {
  model::SamplerSettings settings;
  const auto& few_step = traits.few_step;
  settings.kind = config.sampler != "auto" ? model::parse_sampler(config.sampler)
                  : few_step               ? model::SamplerKind::kFewStep
                                           : model::SamplerKind::kUnipc;
  settings.steps = config.steps;
  // A few-step student has its guidance distilled into it (docs/algorithms.md 8.4).
  settings.guidance_scale =
      settings.kind == model::SamplerKind::kFewStep ? 1.0 : config.guidance_scale;
  settings.timestep_shift = traits.timestep_shift;
  settings.kv_cache_dtype = model::kv_cache_dtype_named(config.kv_cache_dtype);
  settings.cuda_graph = config.cuda_graph;
  if (few_step) {
    settings.denoising_step_list = few_step->denoising_step_list;
    settings.first_chunk_denoising_step_list = few_step->first_chunk_denoising_step_list;
    settings.context_noise = few_step->context_noise;
  }
  return settings;
}

}  // namespace vmla::trainer
