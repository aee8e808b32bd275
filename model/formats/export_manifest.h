#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

/// export_manifest.json: where an export came from, what is in it, and who checked it. No LibTorch
/// here.
namespace vmla::model {

struct ExportedFile {
  uint64_t bytes = 0;
  std::string sha256;
};

/// One check of an export: who made it, on what, and the largest error found.
struct ExportCheck {
  std::string name;      // "tensors": every value after reading the files back
  std::string verifier;  // "self", or the other program and its version
  double error = 0;
};

struct ExportManifest {
  std::string layout;
  std::string source, role, stage, init_method;
  int64_t step = -1;  // -1: not from a checkpoint
  std::map<std::string, ExportedFile> files;
  std::map<std::string, std::string>
      tensor_sha256;  // of each tensor's bytes, under its written name
  std::vector<ExportCheck> checks;
};

std::string export_manifest_json(const ExportManifest& manifest);

}  // namespace vmla::model
