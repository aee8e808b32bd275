#include "model/formats/checkpoint_reader.h"

#include <ATen/ATen.h>

#include <cstring>
#include <memory>
#include <set>

#include "model/formats/stored_types.h"
#include "model/io/error.h"
#include "model/io/mapped_file.h"
#include "model/io/quoted_name.h"
#include "model/io/sha256.h"

namespace vmla::model {
namespace fs = std::filesystem;
namespace {

using io::ManifestPiece;
using io::ManifestTensor;
using io::quoted_name;
using FileMap = std::map<std::string, std::shared_ptr<io::MappedFile>>;

/// Maps a file and compares its size and hash. The mapped bytes that were hashed are the ones used
/// afterwards.
std::shared_ptr<io::MappedFile> map_verified(const CheckpointFolder& checkpoint,
                                             const std::string& name) {
  const fs::path path = checkpoint.path / name;
  const io::ManifestFile& expected = checkpoint.manifest.files.at(name);
  auto file = std::make_shared<io::MappedFile>(path);
  if (file->size() != expected.bytes ||
      io::sha256_hex(file->data(), file->size()) != expected.sha256) {
    fail_user("{}: altered since it was written (its sha256 is not the manifest's)", path.string());
  }
  return file;
}

at::Tensor assemble(const ManifestTensor& stored, const FileMap& files) {
  const auto options = at::TensorOptions(scalar_type_of(stored.type));
  const uint64_t element = io::stored_type_bytes(stored.type);
  if (stored.pieces.size() == 1) {
    const ManifestPiece& piece = stored.pieces[0];
    const auto& file = files.at(piece.file);
    char* const data = file->data() + piece.offset;
    const bool aligned = reinterpret_cast<uintptr_t>(data) % element == 0;
    if (aligned && piece.count > 0 && stored.type != io::StoredType::boolean) {
      return at::from_blob(data, stored.shape, [file](void*) {}, options);
    }
  }
  at::Tensor whole = at::empty(stored.shape, options);
  for (const ManifestPiece& piece : stored.pieces) {
    if (piece.count == 0) continue;
    std::memcpy(static_cast<char*>(whole.mutable_data_ptr()) + piece.first * element,
                files.at(piece.file)->data() + piece.offset,
                piece.count * element);
  }
  return whole;
}

}  // namespace

CheckpointFolder open_checkpoint(const fs::path& path) {
  CheckpointFolder checkpoint;
  checkpoint.path = io::find_checkpoint(path);
  if (checkpoint.path.empty()) {
    fail_user("{}: {}; a step folder (with manifest.json), 'latest' or a run folder is needed",
              path.string(),
              fs::exists(path) ? "no checkpoint" : "does not exist");
  }
  checkpoint.manifest = io::read_manifest(checkpoint.path);
  return checkpoint;
}

const io::ManifestRole& checkpoint_role(const CheckpointFolder& checkpoint,
                                        const std::string& role) {
  const auto& roles = checkpoint.manifest.roles;
  const auto found = roles.find(role);
  if (found != roles.end()) return found->second;
  std::string known;
  for (const auto& [name, entry] : roles)
    known += formatted("{}{}", known.empty() ? "" : ", ", name);
  fail_user("{} has no role {}; it has {}", checkpoint.path.string(), quoted_name(role), known);
}

TensorMap read_checkpoint_role(const CheckpointFolder& checkpoint, const std::string& role) {
  const io::ManifestRole& entry = checkpoint_role(checkpoint, role);
  FileMap files;
  for (const auto& [name, tensor] : entry.tensors) {
    for (const ManifestPiece& piece : tensor.pieces) {
      auto& file = files[piece.file];
      if (!file) file = map_verified(checkpoint, piece.file);
    }
  }
  TensorMap tensors;
  for (const auto& [name, tensor] : entry.tensors) tensors.emplace(name, assemble(tensor, files));
  return tensors;
}

void verify_share(const CheckpointFolder& checkpoint, int64_t index, int64_t count) {
  TORCH_CHECK(0 <= index && index < count, "reader ", index, " of ", count);
  int64_t i = 0;
  for (const auto& [name, file] : checkpoint.manifest.files) {
    if (i++ % count == index) map_verified(checkpoint, name);
  }
}

const std::string& checkpoint_model_json(const CheckpointFolder& checkpoint,
                                         const std::string& role) {
  const io::ManifestRole& entry = checkpoint_role(checkpoint, role);
  return entry.model_json.empty() ? checkpoint.manifest.model_json : entry.model_json;
}

}  // namespace vmla::model
