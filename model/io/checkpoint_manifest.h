#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "model/io/safetensors_header.h"

/// manifest.json of a checkpoint folder (docs/formats.md), read and written without LibTorch.
namespace vmla::io {

constexpr int64_t kCheckpointFormatVersion = 1;
constexpr std::string_view kManifestName = "manifest.json";

/// Consecutive elements of a tensor, in row-major order, and where they lie in a file.
struct ManifestPiece {
  std::string file;     // in the checkpoint's folder
  uint64_t offset = 0;  // bytes from the start of the file
  uint64_t first = 0;   // first element of the whole tensor that the piece holds
  uint64_t count = 0;   // elements
};

struct ManifestTensor {
  StoredType type = StoredType::f32;
  std::vector<int64_t> shape;         // of the whole tensor
  std::vector<ManifestPiece> pieces;  // ascending in `first`, covering every element once
};

struct ManifestFile {
  uint64_t bytes = 0;
  std::string sha256;
};

struct ManifestRole {
  /// The role's network (model/config/config_json.h); empty: the checkpoint's.
  std::string model_json;
  std::map<std::string, ManifestTensor> tensors;
};

using ManifestValue = std::variant<int64_t, std::string>;

struct CheckpointManifest {
  int64_t format_version = kCheckpointFormatVersion;
  int64_t step = 0;
  std::string stage;
  std::map<std::string, int64_t> counters;
  std::map<std::string, ManifestValue> data_position;
  std::string config_yaml;
  std::string model_json;
  std::map<std::string, ManifestFile> files;
  std::map<std::string, ManifestRole> roles;
};

/// The text of manifest.json. Its field `manifest_sha256` is the hash of the text itself with that
/// field's 64 digits written as zeros.
std::string manifest_text(const CheckpointManifest& manifest);

/// Reads a manifest. UserError names `file_name` and says what is wrong: no manifest, altered since
/// it was written, another format version, or pieces that leave elements out, overlap or lie
/// outside their file.
CheckpointManifest parse_manifest(std::string_view text, const std::string& file_name);

/// Reads FOLDER/manifest.json and checks that every file it lists is there and has the size it
/// says.
CheckpointManifest read_manifest(const std::filesystem::path& folder);

/// The part of a checkpoint that one of several writers has written.
struct CheckpointPart {
  std::map<std::string, ManifestFile> files;
  /// By role and tensor name: the whole tensor's type and shape, and this writer's pieces.
  std::map<std::string, std::map<std::string, ManifestTensor>> roles;
};

std::string part_text(const CheckpointPart& part);
/// RunError names `file_name` if the text is no part: only this program writes them.
CheckpointPart parse_part(std::string_view text, const std::string& file_name);

/// Adds a part to the manifest. RunError if writers disagree about a tensor's type or shape, or
/// wrote the same file.
void merge_part(CheckpointManifest& manifest, const CheckpointPart& part);

/// The step folder that `path` stands for: a step folder itself, or the latest one of a run folder
/// or of its checkpoints folder (`latest`, else the highest step). Empty if `path` is none of
/// these; UserError if a link leads to no checkpoint.
std::filesystem::path find_checkpoint(const std::filesystem::path& path);

/// `step_N` folders of a checkpoints folder, ascending in N.
std::vector<std::filesystem::path> step_folders(const std::filesystem::path& checkpoints_folder);

}  // namespace vmla::io
