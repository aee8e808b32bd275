#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "model/config/config_json.h"
#include "model/config/model_config.h"
#include "model/formats/export_origin.h"
#include "model/formats/safetensors.h"

namespace vmla::model {

/// Weights from any of the layouts we read, under their Wan names.
struct LoadedWeights {
  ModelConfig config;               // what the source says, the rest from the tensors' shapes
  PartialConfig stated;             // only what the source states, nothing inferred
  bool config_is_complete = false;  // false: num_heads or text_len had to be guessed
  TensorMap tensors;                // mapped read-only: clone before writing
  std::string source;               // for messages: the path, and the role of a checkpoint
  bool diffusers_names = false;     // the names in the source were diffusers'
  std::string prefix;               // that stood in front of its names ("generator_ema.model.")
  std::map<std::string, size_t> others;  // what else the source holds (NetworkChoice::others)
  int64_t step = -1;                     // of a checkpoint; -1: from elsewhere
  std::string stage, role;
  std::string stage_config;              // of a checkpoint: the resolved configuration of its stage
  std::optional<ExportOrigin> exported;  // of a folder that vmla wrote, or a file in one
};

/// Reads a checkpoint (step folder, `latest`, run folder), a Wan folder (config.json and
/// safetensors, sharded or not), a diffusers folder (the transformer or the pipeline's root), a
/// folder of `vmla export`, or a bare .safetensors file or file of torch.save (with the config.json
/// beside it, if there is one).
///
/// `role` chooses among a checkpoint's: empty or "ema" takes generator_ema, target_ema, generator,
/// whichever is there first; "raw" takes generator; any other name is taken as it is. Among the
/// networks in another file it chooses as choose_network() does. UserError if `path` is none of
/// these, a name in it is unknown, or a tensor holds no finite floating-point numbers.
LoadedWeights read_weights(const std::filesystem::path& path, const std::string& role = {});

/// The same, and logs what was read.
LoadedWeights load_weights(const std::filesystem::path& path, const std::string& role = {});

/// The configuration of `weights` with the keys that the user has `overridden` ({} for none). Sizes
/// that neither source nor user states are inferred again, because some depend on others (MLA's
/// head sizes on num_heads). UserError if a rule is broken, or if num_heads is not stated and dim
/// is no multiple of 128.
ModelConfig model_config_with(const LoadedWeights& weights, const PartialConfig& overridden);

}  // namespace vmla::model
