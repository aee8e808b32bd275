#pragma once

#include <filesystem>
#include <string>

#include "model/formats/safetensors.h"
#include "model/io/checkpoint_manifest.h"

/// Reading of checkpoint folders: what weights need of them. Writing and policy are the trainer's.
namespace vmla::model {

/// A checkpoint whose manifest was read and whose files are all there with the right sizes.
struct CheckpointFolder {
  std::filesystem::path path;
  io::CheckpointManifest manifest;
};

/// Opens what `path` means (io::find_checkpoint). UserError if it is no checkpoint or an incomplete
/// one.
CheckpointFolder open_checkpoint(const std::filesystem::path& path);

/// Compares the hash of every file that holds a part of `role` and puts the role's tensors together
/// from their pieces. Tensors in one piece share the mapped file (read-only: clone before writing).
/// UserError if the role is not there (it lists those that are) or a file was altered.
TensorMap read_checkpoint_role(const CheckpointFolder& checkpoint, const std::string& role);

/// Compares the hash of every file; UserError names the first that was altered.
void verify_checkpoint(const CheckpointFolder& checkpoint);

/// The same shared among `count` readers: reader `index` compares file i (in the order of their
/// names) when i mod count = index.
void verify_share(const CheckpointFolder& checkpoint, int64_t index, int64_t count);

/// A role's entry in the manifest. UserError if it is not there (it lists those that are).
const io::ManifestRole& checkpoint_role(const CheckpointFolder& checkpoint,
                                        const std::string& role);

/// The network of a role: its own, or the checkpoint's. JSON for parse_model_json.
const std::string& checkpoint_model_json(const CheckpointFolder& checkpoint,
                                         const std::string& role);

}  // namespace vmla::model
