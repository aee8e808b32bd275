#include "launch/shared_options.h"

namespace vmla::launch {
namespace {

const char kWeightsHelp[] =
    "a checkpoint or run folder, a Wan or diffusers folder, a videomla export, a .safetensors or "
    ".pt file";
const char kCheckpointHelp[] = "a step's folder, `latest`, or a run folder";
const char kCodecWeightsHelp[] =
    "the codec's weights: a .safetensors file under the original or diffusers' names, a folder "
    "that holds one, or a diffusers pipeline with its vae/";
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

void add_stages(OptionSet& options, StagesArgs& args, const std::string& dry_run_help) {
  options.text("--run-dir", args.run_dir, "DIR", "where the runs are written (default: runs/NAME)");
  options
      .integer_from_1(
          "--jobs", args.jobs, "stages that may run side by side (default: the file's `jobs`)")
      .type("N");
  options.text("--nproc-per-node",
               args.nproc_per_node,
               "N|gpu|cpu",
               "start every stage on several ranks, through vmla-launch (default: one process)");
  options.flag("--dry-run", args.dry_run, dry_run_help);
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

void add_compute(OptionSet& options, ComputeArgs& args, const std::string& of) {
  const std::string tail = of.empty() ? "" : " " + of;
  options.choice("--device", args.device, {"cpu", "cuda"}, "what computes" + tail).shows_default();
  options
      .choice("--precision",
              args.precision,
              {"fp32", "bf16"},
              of.empty() ? "of matrices and activations" : "matrices and activations" + tail)
      .shows_default();
}

void add_vae_weights(OptionSet& options, CodecArgs& args) {
  options.text("--weights", args.weights, "PATH", kCodecWeightsHelp).required();
}

void add_codec_weights(OptionSet& options, std::string& weights) {
  options.text("--codec-weights", weights, "PATH", kCodecWeightsHelp);
}

void add_tile(OptionSet& options, int64_t& tile) {
  const char help[] =
      "pixel rows and columns that the codec computes at once, a multiple of 8 and at least 64; 0: "
      "all";
  options.integer_from_0("--tile", tile, help).type("N").shows_default();
}

void add_text_files(OptionSet& options, TextArgs& args) {
  options.text(
      "--text-weights",
      args.text_weights,
      "PATH",
      "weights of the text encoder umt5: a file in Wan's or transformers' names, or a folder "
      "with config.json");
  options.text("--tokenizer",
               args.tokenizer,
               "PATH",
               "tokenizer of the text encoder umt5: spiece.model, or the folder that holds it");
}

model::TextEncoderOptions text_encoder_options(const TextArgs& args, const ComputeArgs& compute) {
  return {.weights = args.text_weights,
          .tokenizer = args.tokenizer,
          .device = compute.device,
          .precision = compute.precision};
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

void add_overwrite(OptionSet& options, bool& overwrite, const std::string& what) {
  options.flag("--overwrite", overwrite, "replace an existing " + what);
}

}  // namespace vmla::launch
