#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "model/formats/engine_rules.h"
#include "model/io/checkpoint_manifest.h"

/// export_manifest.json: where an export came from, what is in it, and which checks it passed
/// (docs/formats.md). No LibTorch here.
namespace vmla::model {

inline constexpr char kExportManifestName[] = "export_manifest.json";

/// A check that an export passed.
struct ExportCheck {
  std::string name;      // "tensors": every value, after the files were read back
  std::string verifier;  // "self", or the other program and its version
  double error = 0;      // the largest that was found
};

struct ExportManifest {
  std::string layout;
  std::string source, role, stage, init_method;
  int64_t step = -1;  // -1: not from a checkpoint
  std::map<std::string, io::ManifestFile> files;
  /// Hash of each tensor's bytes, under the name it is written with.
  std::map<std::string, std::string> tensor_sha256;
  std::vector<ExportCheck> checks;
  std::vector<EngineNote> engines;
  ModelConfig model;
  std::optional<SamplingFacts> sampling;  // none: not known
};

std::string export_manifest_json(const ExportManifest& manifest);

}  // namespace vmla::model
