#include "trainer/inputs/sizes_only_batch.h"

#include <ATen/ATen.h>

namespace vmla::trainer {
namespace {

at::Tensor sized(at::IntArrayRef shape, at::ScalarType dtype = at::kFloat) {
  return at::empty(shape, at::device(at::kMeta).dtype(dtype));
}

}  // namespace

model::TensorMap sizes_only_batch(const TrainConfig& config,
                                  const ClipShape& clip,
                                  int64_t text_rows) {
  const ObjectiveTraits traits = objective_traits(config.objective);
  const int64_t count = config.train.micro_batch_size;
  model::TensorMap batch = {{"text", sized({count, text_rows, config.model.text_dim})}};
  // An objective that learns from prompts may be given a dataset of clips; their latents are read
  // too, though it does not use them. A missing dataset is judged by what data.make would make.
  const bool is_prompt_set =
      traits.learns_from == LearnsFrom::kPrompts && !config.data.make.prompts.empty();
  if (!is_prompt_set)
    batch["clean_latents"] = sized({count, clip.frames, clip.channels, clip.height, clip.width});
  if (traits.learns_from == LearnsFrom::kOdePairs) {
    // A state for each of the student's steps, and the endpoint.
    const auto states = static_cast<int64_t>(traits.few_step->denoising_step_list.size()) + 1;
    batch["ode_states"] =
        sized({count, states, clip.frames, clip.channels, clip.height, clip.width});
  }
  return batch;
}

model::TensorMap sizes_only_shared_inputs(const TrainConfig& config, int64_t text_rows) {
  if (!objective_traits(config.objective).negative_prompt) return {};
  return {{"negative_text", sized({1, text_rows, config.model.text_dim})}};
}

model::TensorMap sizes_only_draws(const std::vector<DrawSpec>& specs, int64_t batch) {
  model::TensorMap draws;
  for (const DrawSpec& spec : specs) {
    if (spec.shared_below > 0) {
      draws[spec.name] = at::scalar_tensor(spec.shared_below - 1, spec.dtype);
      continue;
    }
    std::vector<int64_t> shape = spec.shape;
    for (int64_t& size : shape) {
      if (size == DrawSpec::kBatch) size = batch;
    }
    const at::Tensor draw = sized(shape, spec.dtype);
    draws[spec.name] = stays_on_host(draw) ? at::zeros(shape, spec.dtype) : draw;
  }
  return draws;
}

}  // namespace vmla::trainer
