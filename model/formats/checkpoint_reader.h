#pragma once

#include <filesystem>
#include <string>

#include "model/formats/safetensors.h"
#include "model/io/checkpoint_manifest.h"

/// Reads checkpoint folders, as far as weights need it. Writing them, and when, is the trainer's
/// business (trainer/checkpoint/).
namespace vmla::model {

/// A checkpoint whose manifest was read and whose files are all there with the right sizes.
struct CheckpointFolder {
  std::filesystem::path path;
  io::CheckpointManifest manifest;
};

/// Opens the checkpoint that `path` stands for (io::find_checkpoint). UserError if there is none or
/// it is incomplete.
CheckpointFolder open_checkpoint(const std::filesystem::path& path);

/// Compares the hash of every file that holds a part of `role`, and assembles the role's tensors
/// from their pieces. A tensor in one piece is a view of the mapped file: clone it before writing.
/// UserError if there is no such role (it lists those that there are) or a file was altered.
TensorMap read_checkpoint_role(const CheckpointFolder& checkpoint, const std::string& role);

/// Compares the hashes of a checkpoint's files, divided among `count` ranks: rank `index` compares
/// the files whose number in the order of names, modulo `count`, is `index`. UserError names the
/// first that was altered.
void verify_share(const CheckpointFolder& checkpoint, int64_t index, int64_t count);

/// A role's entry in the manifest. UserError if there is none; it lists those that there are.
const io::ManifestRole& checkpoint_role(const CheckpointFolder& checkpoint,
                                        const std::string& role);

/// The configuration of a role's network: its own entry, or the checkpoint's. JSON for
/// parse_model_json.
const std::string& checkpoint_model_json(const CheckpointFolder& checkpoint,
                                         const std::string& role);

}  // namespace vmla::model
