#include "launch/shared_options.h"

namespace vmla::launch {
namespace {

const char kWeightsHelp[] =
    "a checkpoint or run folder, a Wan or diffusers folder, a videomla export, a .safetensors file";
const char kCheckpointHelp[] = "a step's folder, `latest`, or a run folder";
const char kRoleHelp[] =
    "of a checkpoint: ema, the averaged weights if there are any; raw, the trained ones";

}  // namespace

Option add_config(OptionSet& options,
                  ConfigArgs& args,
                  const std::string& config_help,
                  const std::string& set_help) {
  const Option config = options.text("--config", args.config, "FILE", config_help);
  options.repeated_text("--set", args.set, "KEY=VALUE", set_help);
  return config;
}

void add_weights(OptionSet& options, std::string& weights, const std::string& which) {
  options.text("--weights", weights, "PATH", which + kWeightsHelp).required();
}

void add_weights_role(OptionSet& options, std::string& weights_role) {
  options.choice("--weights-role", weights_role, {"ema", "raw"}, kRoleHelp).shows_default();
}

void add_checkpoint(OptionSet& options, CheckpointArgs& args) {
  options.text("--checkpoint", args.checkpoint, "PATH", kCheckpointHelp).required();
}

void add_checkpoint_weights(OptionSet& options, CheckpointArgs& args) {
  options.choice("--weights", args.weights, {"ema", "raw"}, kRoleHelp).shows_default();
}

Option add_seed(OptionSet& options, int64_t& seed) {
  return options.integer("--seed", seed, "seed of the noise").shows_default();
}

void add_batch(OptionSet& options, int64_t& batch, const std::string& help) {
  options.integer_from_1("--batch", batch, help).type("B").shows_default();
}

Option add_guidance(OptionSet& options, Destination<double> guidance) {
  const char help[] = "guidance scale: w in v_neg + w (v_pos - v_neg); 1: none";
  return options.number_from_0("--guidance", guidance, help).type("G");
}

void add_negative_prompt(OptionSet& options, Destination<std::string> negative_prompt) {
  const char help[] = "the prompt that guidance steers away from";
  options.text("--negative-prompt", negative_prompt, "TEXT", help);
}

Option add_prompts(OptionSet& options, std::string& prompts) {
  return options.text("--prompts", prompts, "FILE", "a text file, one prompt a line");
}

void add_dtype(OptionSet& options, std::string& dtype, const std::string& help) {
  options.choice("--dtype", dtype, {"bf16", "fp32"}, help).shows_default();
}

void add_device(OptionSet& options, DeviceArgs& args) {
  options.choice("--device", args.device, {"cpu", "cuda"}, "where the network is computed")
      .shows_default();
  options
      .choice("--precision",
              args.precision,
              {"fp32", "bf16"},
              "of matrix products and attention; norms, times and the head stay fp32")
      .shows_default();
}

void add_overwrite(OptionSet& options, bool& overwrite, const std::string& what) {
  options.flag("--overwrite", overwrite, "replace an existing " + what);
}

}  // namespace vmla::launch
