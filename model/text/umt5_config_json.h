#pragma once

#include <filesystem>
#include <set>
#include <string>

#include "model/text/umt5_weights.h"

namespace vmla::model {

/// What a config.json of transformers says of an encoder.
struct StatedUmt5 {
  Umt5Config config;            // with defaults for what it does not say
  std::set<std::string> given;  // the keys that it has
  std::string path;
};

/// Reads `path` (transformers' UMT5Config); defaults if there is no such file. UserError if it is
/// damaged or says that the encoder computes something else: another model type, another
/// activation.
StatedUmt5 read_umt5_config(const std::filesystem::path& path);

/// UserError where the file contradicts the tensors' sizes.
void check_stated(const StatedUmt5& stated, const Umt5Config& found, const std::string& source);

}  // namespace vmla::model
