#pragma once

#include "model/sampling/flow_solver.h"
#include "trainer/config/train_config.h"

#include <string>
#include <vector>

namespace vmla::trainer {

/// The prompts of `sample.prompts`: the list, or the lines of the file (an empty line is the empty
/// prompt). UserError when the file cannot be read.
std::vector<std::string> sample_prompts(const SampleConfig& config);

/// The sampler that the section `sample` describes, on the noise schedule of the stage's objective.
/// sampler: auto is the few-step sampler with the steps that a student was distilled to, else
/// UniPC.
model::SamplerSettings sampler_settings(const SampleConfig& config, const ObjectiveTraits& traits);

}  // namespace vmla::trainer
