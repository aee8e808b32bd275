#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "model/config/model_config.h"
#include "model/formats/engine_rules.h"

/// The layouts of `vmla export`, one row each: which names the tensors get, in what kind of file
/// they stand, and what is written beside it (docs/formats.md "Exports"). No LibTorch here.
namespace vmla::model {

/// What the texts of an export are made of.
struct ExportSource {
  ModelConfig config;
  std::string init_method;  // how an MLA model was made from dense weights; may be empty
  SamplingFacts sampling;
  bool sampling_is_known = false;  // false: `sampling` is a guess
};

/// A text file of an export's folder.
struct TextFile {
  std::string path;  // below the folder
  std::string text;
};

enum class WeightFile {
  kShards,       // NAME.safetensors, or its shards with an index
  kSafetensors,  // one safetensors file, whatever its size
  kTorch,        // torch.save's, a dict with the weights as generator_ema and as generator
};

struct ExportFormat {
  std::string_view name;
  std::string_view what;    // for help and model card: which programs open it
  bool latent;              // whether a model with latent attention can be written so
  bool states_sampling;     // whether its texts have no meaning where sampling is not known
  bool diffusers_names;     // else Wan's
  std::string_view prefix;  // of every tensor's name
  WeightFile file;
  std::string_view tensors;  // path of the tensors' file below the folder, without its extension
  std::vector<TextFile> (*texts)(const ExportSource& source);
  /// `__metadata__` of the safetensors header.
  std::map<std::string, std::string> (*header)(const ExportSource& source);
};

/// All formats, in the order of the help.
const std::vector<ExportFormat>& export_formats();
/// UserError on another name.
const ExportFormat& export_format(std::string_view name);

}  // namespace vmla::model
