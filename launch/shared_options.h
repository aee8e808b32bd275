#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "launch/options/option_set.h"

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
/// Where a network is computed, and in which numbers.
struct DeviceArgs {
  std::string device = "cpu";
  std::string precision = "fp32";
};
/// `--device` and `--precision`.
void add_device(OptionSet& options, DeviceArgs& args);
/// `--overwrite`: replaces an existing file, which `what` names.
void add_overwrite(OptionSet& options, bool& overwrite, const std::string& what);

}  // namespace vmla::launch
