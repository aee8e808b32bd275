#include "trainer/checkpoint/checkpoint.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdio>

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
  char which[32];
  std::snprintf(which,
                sizeof(which),
                ".%05d-of-%05d",
                static_cast<int>(place.writer),
                static_cast<int>(place.writers));
  return formatted("{}{}.safetensors", role, which);
}

/// Writes a role's file into `folder` and enters it, and where each piece lies, into the part.
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

/// Writes this writer's files. One of several has no file for a role of which it has nothing.
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

void save_as_one_of_several(const CheckpointShare& share,
                            const io::SavePlace& place,
                            const std::atomic<bool>* cancelled,
                            io::SharedSave& save) {
  save.enter();
  const io::CheckpointPart part = write_part(save.folder(), share, place, cancelled);
  for (const auto& [name, file] : part.files) io::flush_to_disk(save.folder() / name);
  save.leave_part(part);
  if (place.writer != 0) return save.wait_for_commit();
  io::CheckpointManifest manifest = manifest_of(share);
  for (const io::CheckpointPart& other : save.collect_parts()) io::merge_part(manifest, other);
  write_manifest(save.folder(), manifest);
  io::flush_to_disk(save.folder() / io::kManifestName);
  try {
    io::read_manifest(
        save.folder());  // before it is too late: every element once, every file there
  } catch (const UserError& problem) {
    fail_run("the writers' parts are no checkpoint: {}", problem.what());
  }
  save.commit();
}

}  // namespace

CheckpointShare whole_share(const CheckpointData& data) {
  CheckpointShare share{data, {}};
  for (const auto& [role, tensors] : data.roles) share.roles[role] = whole_pieces(tensors);
  return share;
}

fs::path save_checkpoint(const fs::path& checkpoints_folder, const CheckpointData& data) {
  return save_checkpoint(checkpoints_folder, whole_share(data));
}

fs::path save_checkpoint(const fs::path& checkpoints_folder,
                         const CheckpointShare& share,
                         const io::SavePlace& place,
                         const std::atomic<bool>* cancelled) {
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
  const fs::path folder = step_folder(checkpoints_folder, share.step);
  if (place.writers == 1) {
    save_alone(folder, share);
    return folder;
  }
  io::SharedSave save(checkpoints_folder, folder.filename().string(), place, cancelled);
  try {
    save_as_one_of_several(share, place, cancelled, save);
  } catch (const std::exception& problem) {
    // A file that vanished because writer 0 gave up is no cause of its own.
    const bool gone_before = place.writer != 0 && save.failed();
    save.fail(problem.what());
    if (gone_before) throw io::SaveFailedElsewhere(problem.what());
    throw;
  }
  return folder;
}

CheckpointInfo checkpoint_info(const model::CheckpointFolder& checkpoint) {
  const io::CheckpointManifest& manifest = checkpoint.manifest;
  const std::string manifest_name = (checkpoint.path / io::kManifestName).string();
  CheckpointInfo info;
  info.step = manifest.step;
  info.stage = manifest.stage;
  info.counters = manifest.counters;
  info.data_position = manifest.data_position;
  info.config_yaml = manifest.config_yaml;
  const model::PartialConfig network = model::parse_model_json(manifest.model_json, manifest_name);
  info.model = network.config;
  info.init_method = network.init_method;
  for (const auto& [role, entry] : manifest.roles) {
    if (entry.model_json.empty()) continue;
    info.role_models[role] = model::parse_model_json(entry.model_json, manifest_name).config;
  }
  return info;
}

CheckpointData load_checkpoint(const fs::path& path) {
  const model::CheckpointFolder checkpoint = model::open_checkpoint(path);
  CheckpointData data{checkpoint_info(checkpoint), {}};
  for (const auto& [role, entry] : checkpoint.manifest.roles) {
    data.roles[role] = model::read_checkpoint_role(checkpoint, role);
  }
  return data;
}

model::TensorMap load_checkpoint_role(const fs::path& path, const std::string& role) {
  return model::read_checkpoint_role(model::open_checkpoint(path), role);
}

std::vector<fs::path> list_checkpoints(const fs::path& checkpoints_folder) {
  std::vector<fs::path> folders = io::step_folders(checkpoints_folder);
  std::erase_if(folders,
                [](const fs::path& folder) { return !fs::exists(folder / io::kManifestName); });
  return folders;
}

std::vector<fs::path> prune_checkpoints(const fs::path& checkpoints_folder,
                                        int64_t keep_last,
                                        int64_t keep_every) {
  const std::vector<fs::path> folders = io::step_folders(checkpoints_folder);
  const size_t newest =
      std::min(folders.size(), static_cast<size_t>(std::max<int64_t>(1, keep_last)));
  std::error_code ignored;
  const fs::path latest = fs::read_symlink(checkpoints_folder / "latest", ignored);
  std::vector<fs::path> removed;
  for (size_t i = 0; i + newest < folders.size(); ++i) {
    const std::string name = folders[i].filename().string();
    const int64_t step = std::stoll(name.substr(name.find('_') + 1));
    if (folders[i].filename() == latest || (keep_every > 0 && step % keep_every == 0)) continue;
    io::remove_folder(folders[i]);
    removed.push_back(folders[i]);
  }
  return removed;
}

std::optional<fs::path> newest_intact_checkpoint(const fs::path& checkpoints_folder,
                                                 std::vector<std::string>* complaints,
                                                 const Readers& readers) {
  const auto problem_in = [](const fs::path& folder, int64_t index, int64_t count) -> std::string {
    try {
      model::verify_share({folder, io::read_manifest(folder)}, index, count);
    } catch (const UserError& problem) {
      return problem.what();
    }
    return {};
  };
  // Reader 0's folders: another machine may see a network file system's a moment later.
  std::vector<fs::path> folders = io::step_folders(checkpoints_folder);
  for (;;) {
    const fs::path folder = readers.first_says(folders.empty() ? "" : folders.back().string());
    if (folder.empty()) return std::nullopt;
    std::string problem = problem_in(folder, readers.index, readers.count);
    if (readers.all(problem.empty())) return folder;
    if (readers.index == 0 && problem.empty()) problem = problem_in(folder, 0, 1);
    if (complaints != nullptr) complaints->push_back(problem);
    if (!folders.empty()) folders.pop_back();
  }
}

}  // namespace vmla::trainer
