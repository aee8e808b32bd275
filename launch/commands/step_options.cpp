#include "launch/commands/step.h"

#include "trainer/config/config_yaml.h"
#include "trainer/pipeline/cpu_threads.h"

namespace vmla::launch {

const CommandText StepArgs::kText = {
    "step",
    "evaluates the training objective once, on given tensors",
    R"(Every random draw comes from --inputs, so that another implementation can be compared. For teacher_forcing:
clean_latents and noise [B, F, C, H, W], timesteps [B, F], text [B, T, text_dim]. Writes loss, grad_norm, and
grad_norm.TENSOR for every trained tensor.

Example:
  vmla step --config runs/tiny/tf_svd/config.yaml --inputs in.safetensors --output out.safetensors)"};

void StepArgs::define(OptionSet& options) {
  add_config(options, *this, "the stage's yaml file; weights come from its init_from").required();
  options.text("--inputs", inputs, "FILE", "safetensors with every random draw (docs/formats.md)")
      .required();
  options
      .text("--output", output, "FILE", "safetensors to write: loss, intermediates, gradient norms")
      .required();
  options
      .choice("--player", player, {"generator", "fake_score"}, "the role whose loss is evaluated")
      .shows_default();
}

CpuThreads StepArgs::front_check() const {
  const trainer::TrainConfig stage = trainer::load_config(config, set, trainer::Purpose::kStep);
  return {.count = trainer::cpu_threads(stage, trainer::available_cores()),
          .asked_for = stage.train.threads > 0};
}

}  // namespace vmla::launch
