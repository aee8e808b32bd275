#include "launch/commands/export.h"

#include "model/formats/export_weights.h"
#include "model/formats/load_weights.h"
#include "model/io/exit_status.h"
#include "model/sampling/flow_solver.h"
#include "trainer/config/config_yaml.h"
#include "trainer/config/objective_config.h"
#include "trainer/evaluation/sampler_settings.h"

namespace vmla::launch {
namespace {

/// How the checkpoint's model is sampled, for the files beside its weights.
model::SamplingFacts sampling_of(const model::LoadedWeights& weights) {
  const trainer::TrainConfig config =
      trainer::parse_resolved(weights.stage_config, weights.source + ": config");
  const trainer::ObjectiveTraits traits = trainer::objective_traits(config.objective);
  const model::SamplerSettings settings = trainer::sampler_settings(config.sample, traits);
  model::SamplingFacts facts;
  facts.causal = traits.causal;
  facts.sampler = model::sampler_name(settings.kind);
  if (settings.kind == model::SamplerKind::kFewStep) {
    facts.denoising_step_list = settings.denoising_step_list;
    facts.first_chunk_denoising_step_list = settings.first_chunk_denoising_step_list;
  }
  facts.steps = settings.steps;
  facts.timestep_shift = settings.timestep_shift;
  facts.guidance_scale = settings.guidance_scale;
  facts.context_noise = settings.context_noise;
  return facts;
}

}  // namespace

int run(const ExportArgs& args) {
  const model::LoadedWeights weights = model::load_weights(args.checkpoint, args.weights);
  model::ExportOptions options;
  options.format = args.format;
  options.dtype = model::export_dtype(args.dtype);
  options.shard_bytes = static_cast<uint64_t>(args.shard_bytes);
  if (!weights.stage_config.empty()) options.sampling = sampling_of(weights);
  model::export_weights(weights, options, args.out);
  return kDone;
}

}  // namespace vmla::launch
