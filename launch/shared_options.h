#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "launch/options/option_set.h"
#include "model/codec/text_encoder_options.h"

/// Options that several commands have: the name, default and help of each stand here only. A
/// command's arguments derive from the structs, and its define() adds the options in the order in
/// which its help shows them.
namespace vmla::launch {

/// A configuration file, and keys that are set over it.
struct ConfigArgs {
  std::string config;            // empty where the command can do without
  std::vector<std::string> set;  // "a.b=c", applied in this order
};
inline constexpr char kSetHelp[] =
    "override a key of the configuration (yaml value); may be repeated";
/// `--config` and `--set`; returns the former.
Option add_config(OptionSet& options,
                  ConfigArgs& args,
                  const std::string& config_help,
                  const std::string& set_help = kSetHelp);

/// How a command runs several stages, each as a process of its own.
struct StagesArgs {
  std::string run_dir;         // empty: runs/NAME
  int64_t jobs = 0;            // stages side by side; 0: what the file says
  std::string nproc_per_node;  // empty: every stage in one process
  bool dry_run = false;
};
/// `--run-dir`, `--jobs`, `--nproc-per-node` and `--dry-run`, whose help is the command's.
void add_stages(OptionSet& options, StagesArgs& args, const std::string& dry_run_help);

/// A network's weights, from anywhere (model/formats/load_weights.h).
struct WeightsArgs {
  std::string weights;
  std::string weights_role = "ema";
};
/// `--weights`, required. `which`, if not empty, says in front of the help which kind is meant.
void add_weights(OptionSet& options, std::string& weights, const std::string& which = "");
/// `--weights-role`: which network of a checkpoint is taken.
void add_weights_role(OptionSet& options, std::string& weights_role);

/// A checkpoint of a training run, and which of its networks is taken.
struct CheckpointArgs {
  std::string checkpoint;
  std::string weights = "ema";
};
/// `--checkpoint`, required.
void add_checkpoint(OptionSet& options, CheckpointArgs& args);
/// `--weights`: which network of the checkpoint is taken.
void add_checkpoint_weights(OptionSet& options, CheckpointArgs& args);

/// Where tensors are computed, and in which precision.
struct ComputeArgs {
  std::string device = "cpu";
  std::string precision = "fp32";
};
/// `--device` and `--precision`. `of`, if not empty, says in their help what of the command they
/// concern.
void add_compute(OptionSet& options, ComputeArgs& args, const std::string& of = "");

/// A video codec with weights (model/codec/video_codec.h), and how it computes.
struct CodecArgs : ComputeArgs {
  std::string codec = "wan-vae";
  std::string weights;
  int64_t tile = 0;  // pixels; 0: none
};
/// `--weights` of a codec, required.
void add_vae_weights(OptionSet& options, CodecArgs& args);
/// `--codec-weights`, of a codec that may have none.
void add_codec_weights(OptionSet& options, std::string& weights);
/// `--tile`: of a codec with weights.
void add_tile(OptionSet& options, int64_t& tile);

/// The files of a text encoder with weights.
struct TextArgs {
  std::string text_weights, tokenizer;
};
/// `--text-weights` and `--tokenizer`.
void add_text_files(OptionSet& options, TextArgs& args);
/// The two, and how it computes.
model::TextEncoderOptions text_encoder_options(const TextArgs& args,
                                               const ComputeArgs& compute = {});

/// `--seed`: any integer.
Option add_seed(OptionSet& options, int64_t& seed);
/// `--batch`: how many clips are computed at once.
void add_batch(OptionSet& options, int64_t& batch, const std::string& help);
/// `--guidance`: the scale of classifier-free guidance.
Option add_guidance(OptionSet& options, Destination<double> guidance);
/// `--negative-prompt`.
void add_negative_prompt(OptionSet& options, Destination<std::string> negative_prompt);
/// `--prompts`: a file (data/encode/prompt_file.h).
Option add_prompts(OptionSet& options, std::string& prompts);
/// `--dtype`: bf16 or fp32.
void add_dtype(OptionSet& options, std::string& dtype, const std::string& help);
/// `--overwrite`: replaces an existing file, which `what` names.
void add_overwrite(OptionSet& options, bool& overwrite, const std::string& what);

}  // namespace vmla::launch
