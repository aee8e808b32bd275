#include "launch/commands/export.h"

#include <optional>

#include "launch/model_override.h"
#include "model/formats/export_format.h"
#include "model/formats/export_weights.h"
#include "model/formats/load_weights.h"
#include "model/io/error.h"
#include "model/io/exit_status.h"
#include "model/io/log.h"
#include "model/sampling/flow_solver.h"
#include "trainer/config/config_yaml.h"
#include "trainer/config/objective_config.h"
#include "trainer/evaluation/sampler_settings.h"

namespace vmla::launch {
namespace {

/// How a model of that stage is sampled, for the files beside its weights.
model::SamplingFacts sampling_of(const trainer::TrainConfig& config) {
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

/// What --config and --set say of weights that are no checkpoint: the model's settings, and
/// returned how it is sampled; none without --config.
std::optional<model::SamplingFacts> take_config(const ExportArgs& args,
                                                model::LoadedWeights& weights) {
  if (args.config.empty() && args.set.empty()) return std::nullopt;
  const model::ModelConfig wanted = overridden_model(weights, args.config, args.set);
  if (wanted.is_mla() != weights.config.is_mla()) {
    fail_user("{}: model.attention is {}, the weights of {} are {}",
              args.config.empty() ? "--set" : args.config,
              wanted.attention,
              weights.source,
              weights.config.is_mla() ? "latent (mla)" : "dense");
  }
  weights.config = wanted;
  weights.config_is_complete = true;
  if (args.config.empty()) return std::nullopt;
  trainer::TrainConfig base;
  base.model = weights.config;
  return sampling_of(trainer::read_config(args.config, args.set, base));
}

/// How the weights are sampled, from the first that says it: a checkpoint, --config, the folder of
/// an export. UserError where a format states it and nothing does.
std::optional<model::SamplingFacts> sampling_for(const ExportArgs& args,
                                                 model::LoadedWeights& weights) {
  if (!weights.stage_config.empty()) {
    if (!args.config.empty() || !args.set.empty()) {
      fail_user("{}: a checkpoint says itself how it is sampled; leave out {}",
                weights.source,
                args.config.empty() ? "--set" : "--config");
    }
    return sampling_of(trainer::parse_resolved(weights.stage_config, weights.source + ": config"));
  }
  auto given = take_config(args, weights);
  if (given || (weights.exported && weights.exported->sampling)) return given;
  if (model::export_format(args.format).states_sampling) {
    fail_user(
        "{}: nothing says how this model is sampled, which the files of {} state; give --config, "
        "the yaml of the stage that it is from or for",
        weights.source,
        args.format);
  }
  log::info("{}: nothing says how this model is sampled; --config can", weights.source);
  return std::nullopt;
}

}  // namespace

int run(const ExportArgs& args) {
  model::LoadedWeights weights = model::load_weights(args.checkpoint, args.weights);
  model::ExportOptions options;
  options.format = args.format;
  options.dtype = model::export_dtype(args.dtype);
  options.shard_bytes = static_cast<uint64_t>(args.shard_bytes);
  options.sampling = sampling_for(args, weights);
  model::export_weights(weights, options, args.out);
  return kDone;
}

}  // namespace vmla::launch
