#include "launch/commands/forward.h"

#include "trainer/config/config_yaml.h"

namespace vmla::launch {

const CommandText ForwardArgs::kText = {
    "forward",
    "evaluates the network once, on given tensors",
    R"(Reads latents [B, F, C, H, W], timesteps [B, F] (0 to 1000), text [B, T, text_dim] and, for the modes
teacher_forcing and cached, clean_latents; writes flow [B, F, C, H, W]. All F32. `cached` runs chunk by chunk
against a cache of the clean chunks, and equals teacher_forcing.

Example:
  vmla forward --weights runs/tiny/tf_svd --inputs in.safetensors --output out.safetensors --mode cached)"};

void ForwardArgs::define(OptionSet& options) {
  add_weights(options, weights);
  add_config(options, *this, "its section `model` overrides what the weights' config.json says");
  options.text("--inputs", inputs, "FILE", "safetensors: latents, timesteps, text, clean_latents")
      .required();
  options.text("--output", output, "FILE", "safetensors to write: flow [B, F, C, H, W]").required();
  options
      .choice("--mode",
              mode,
              {"bidirectional", "chunk_causal", "teacher_forcing", "cached"},
              "how frames attend to each other")
      .required();
  add_weights_role(options, weights_role);
  add_compute(options, *this);
}

CpuThreads ForwardArgs::front_check() const {
  trainer::check_config_syntax(config, set);
  return default_threads();
}

}  // namespace vmla::launch
