#include "trainer/checkpoint/save_checkpoint.h"

#include <ATen/ATen.h>

#include "model/config/config_json.h"
#include "model/formats/stored_types.h"
#include "model/io/atomic_file.h"
#include "model/io/checkpoint_manifest.h"
#include "model/io/error.h"
#include "model/io/file_writer.h"

namespace vmla::trainer {
namespace fs = std::filesystem;
namespace {

fs::path step_folder(const fs::path& checkpoints_folder, int64_t step) {
  return checkpoints_folder / formatted("step_{}", step);
}

/// "generator.safetensors", or one of several writers' "generator.00002-of-00008.safetensors".
std::string role_file(const std::string& role, const io::SavePlace& place) {
  if (place.writers == 1) return role + ".safetensors";
  return formatted("{}.{:05}-of-{:05}.safetensors", role, place.writer, place.writers);
}

/// Writes a role's file into `folder`, and enters into `part` the file and where each piece lies in
/// it. Whole tensors keep their shape, pieces are 1-D.
void write_role(const fs::path& folder,
                const std::string& file,
                const std::string& role,
                const PieceMap& pieces,
                io::CheckpointPart& part) {
  model::TensorMap stored;
  for (const auto& [name, piece] : pieces) {
    stored[name] = piece.is_whole() ? piece.data.view(piece.shape) : piece.data.view({-1});
  }
  const model::WrittenFile written =
      model::write_safetensors_unflushed(folder / file, stored, {{"format", "pt"}, {"role", role}});
  part.files[file] = {written.bytes, written.sha256};
  auto& entries = part.roles[role];
  for (const model::WrittenTensor& place : written.tensors) {
    const TensorPiece& piece = pieces.at(place.name);
    entries[place.name] = {model::stored_type_of(place.name, piece.data.scalar_type()),
                           piece.shape,
                           {{file,
                             place.offset,
                             static_cast<uint64_t>(piece.first),
                             static_cast<uint64_t>(piece.data.numel())}}};
  }
}

/// Writes this writer's files, unflushed. One of several writers has no file for a role of which it
/// has nothing.
io::CheckpointPart write_part(const fs::path& folder,
                              const CheckpointShare& share,
                              const io::SavePlace& place,
                              const std::atomic<bool>* cancelled) {
  io::CheckpointPart part;
  for (const auto& [role, pieces] : share.roles) {
    if (cancelled != nullptr && cancelled->load()) throw io::SaveFailedElsewhere("given up");
    if (pieces.empty() && place.writers > 1) continue;
    write_role(folder, role_file(role, place), role, pieces, part);
  }
  return part;
}

/// The manifest, still without files and tensors: those come from the writers' parts.
io::CheckpointManifest manifest_of(const CheckpointShare& data) {
  io::CheckpointManifest manifest;
  manifest.step = data.step;
  manifest.stage = data.stage;
  manifest.counters = data.counters;
  manifest.data_position = data.data_position;
  manifest.config_yaml = data.config_yaml;
  manifest.model_json = model::model_json(data.model, data.init_method);
  for (const auto& [role, config] : data.role_models) {
    manifest.roles[role].model_json = model::model_json(config);
  }
  for (const auto& [role, pieces] : data.roles) manifest.roles[role];  // also one without tensors
  return manifest;
}

void write_manifest(const fs::path& folder, const io::CheckpointManifest& manifest) {
  const std::string text = io::manifest_text(manifest);
  io::FileWriter file(folder / io::kManifestName);
  file.write(text.data(), text.size());
  file.close();
}

void save_alone(const fs::path& folder, const CheckpointShare& share) {
  io::publish_folder(folder, [&](const fs::path& temporary) {
    io::CheckpointManifest manifest = manifest_of(share);
    io::merge_part(manifest, write_part(temporary, share, {}, nullptr));
    write_manifest(temporary, manifest);
  });
  io::publish_symlink(folder.parent_path() / "latest", folder.filename().string());
}

/// Writer 0, once every part is there: writes the manifest of all, and moves the folder into place.
void commit_parts(const CheckpointShare& share, io::SharedSave& save) {
  io::CheckpointManifest manifest = manifest_of(share);
  for (const io::CheckpointPart& part : save.collect_parts()) io::merge_part(manifest, part);
  write_manifest(save.folder(), manifest);
  io::flush_to_disk(save.folder() / io::kManifestName);
  try {
    // Reading it checks that every element is there once and every file is complete: while the
    // last checkpoint is still in place.
    io::read_manifest(save.folder());
  } catch (const UserError& problem) {
    fail_run("the writers' parts are no checkpoint: {}", problem.what());
  }
  save.commit();
}

void save_as_one_of_several(const CheckpointShare& share,
                            const io::SavePlace& place,
                            const std::atomic<bool>* cancelled,
                            io::SharedSave& save) {
  save.enter();
  const io::CheckpointPart part = write_part(save.folder(), share, place, cancelled);
  for (const auto& [name, file] : part.files) io::flush_to_disk(save.folder() / name);
  save.leave_part(part);
  if (place.writer == 0) {
    commit_parts(share, save);
  } else {
    save.wait_for_commit();
  }
}

void expect_savable(const CheckpointShare& share, const io::SavePlace& place) {
  for (const auto& [role, pieces] : share.roles) {
    TORCH_CHECK(!role.empty() && role.find('/') == std::string::npos, "not a file's name: ", role);
  }
  for (const auto& [role, config] : share.role_models) {
    TORCH_CHECK(share.roles.contains(role), "a model without tensors: ", role);
  }
  TORCH_CHECK(0 <= place.writer && place.writer < place.writers &&
                  (place.writers == 1 || !place.attempt.empty()),
              "writer ",
              place.writer,
              " of ",
              place.writers,
              " in attempt '",
              place.attempt,
              "'");
}

}  // namespace

fs::path save_checkpoint(const fs::path& checkpoints_folder,
                         const CheckpointShare& share,
                         const io::SavePlace& place,
                         const std::atomic<bool>* cancelled) {
  expect_savable(share, place);
  const fs::path folder = step_folder(checkpoints_folder, share.step);
  if (place.writers == 1) {
    save_alone(folder, share);
    return folder;
  }
  io::SharedSave save(checkpoints_folder, folder.filename().string(), place, cancelled);
  try {
    save_as_one_of_several(share, place, cancelled, save);
  } catch (const std::exception& problem) {
    // When writer 0 gives up it removes what was written: a file that has vanished is then no cause
    // of its own.
    const bool failed_elsewhere = place.writer != 0 && save.failed();
    save.fail(problem.what());
    if (failed_elsewhere) throw io::SaveFailedElsewhere(problem.what());
    throw;
  }
  return folder;
}

}  // namespace vmla::trainer
