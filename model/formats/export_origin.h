#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "model/config/config_json.h"
#include "model/formats/sampling_facts.h"

/// What a folder of `vmla export`, `vmla convert` or `vmla init` says of itself beside its tensors:
/// its export_manifest.json. No LibTorch here.
namespace vmla::model {

struct ExportOrigin {
  std::string stage, role;  // of the checkpoint that it was written from; may be empty
  int64_t step = -1;        // -1: not from a checkpoint
  /// Every size and setting of the network; config.json of other programs has no place for windows
  /// and chunks. None where the manifest is of a version that did not have it.
  std::optional<PartialConfig> model;
  std::optional<SamplingFacts> sampling;  // none: not known
  std::string torch_file;  // the folder's only file of torch.save; empty: none, or several
};

/// UserError names `file_name` and the key where the text is no manifest of an export.
ExportOrigin parse_export_manifest(std::string_view text, const std::string& file_name);

/// Reads export_manifest.json of a folder, and where that says nothing of sampling its
/// sampling.json. None where there is no manifest.
std::optional<ExportOrigin> read_export_origin(const std::filesystem::path& folder);

}  // namespace vmla::model
