#include "trainer/checkpoint.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "model/checkpoint_reader.h"
#include "model/config_json.h"
#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "model/io/file_writer.h"
#include "model/stored_types.h"

namespace vmla::trainer {
namespace fs = std::filesystem;
namespace {

fs::path step_folder(const fs::path& checkpoints_folder, int64_t step) {
  return checkpoints_folder / cat("step_", step);
}

/// Writes a role's file into `folder` and enters it, and where each tensor lies, into the manifest.
void write_role(const fs::path& folder,
                const std::string& role,
                const model::TensorMap& tensors,
                io::CheckpointManifest& manifest) {
  const std::string file = role + ".safetensors";
  const model::WrittenFile written = model::write_safetensors_unflushed(
      folder / file, tensors, {{"format", "pt"}, {"role", role}});
  manifest.files[file] = {written.bytes, written.sha256};
  auto& entries = manifest.roles[role].tensors;
  for (const model::WrittenTensor& place : written.tensors) {
    const at::Tensor& tensor = tensors.at(place.name);
    entries[place.name] = {model::stored_type_of(place.name, tensor.scalar_type()),
                           tensor.sizes().vec(),
                           {{file, place.offset, 0, static_cast<uint64_t>(tensor.numel())}}};
  }
}

io::CheckpointManifest manifest_of(const CheckpointData& data) {
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
  return manifest;
}

}  // namespace

fs::path save_checkpoint(const fs::path& checkpoints_folder, const CheckpointData& data) {
  for (const auto& [role, tensors] : data.roles) {
    TORCH_CHECK(!role.empty() && role.find('/') == std::string::npos, "not a file's name: ", role);
  }
  for (const auto& [role, config] : data.role_models) {
    TORCH_CHECK(data.roles.contains(role), "a model without tensors: ", role);
  }
  const fs::path folder = step_folder(checkpoints_folder, data.step);
  io::publish_folder(folder, [&](const fs::path& temporary) {
    io::CheckpointManifest manifest = manifest_of(data);
    for (const auto& [role, tensors] : data.roles) write_role(temporary, role, tensors, manifest);
    const std::string text = io::manifest_text(manifest);
    io::FileWriter file(temporary / io::kManifestName);
    file.write(text.data(), text.size());
    file.close();
  });
  io::publish_symlink(checkpoints_folder / "latest", folder.filename().string());
  return folder;
}

CheckpointData load_checkpoint(const fs::path& path) {
  const model::CheckpointFolder checkpoint = model::open_checkpoint(path);
  const io::CheckpointManifest& manifest = checkpoint.manifest;
  const std::string manifest_name = (checkpoint.path / io::kManifestName).string();
  CheckpointData data;
  data.step = manifest.step;
  data.stage = manifest.stage;
  data.counters = manifest.counters;
  data.data_position = manifest.data_position;
  data.config_yaml = manifest.config_yaml;
  const model::PartialConfig network = model::parse_model_json(manifest.model_json, manifest_name);
  data.model = network.config;
  data.init_method = network.init_method;
  for (const auto& [role, entry] : manifest.roles) {
    if (!entry.model_json.empty()) {
      data.role_models[role] = model::parse_model_json(entry.model_json, manifest_name).config;
    }
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
                                                 std::vector<std::string>* complaints) {
  std::vector<fs::path> folders = io::step_folders(checkpoints_folder);
  std::ranges::reverse(folders);
  for (const fs::path& folder : folders) {
    try {
      model::verify_checkpoint({folder, io::read_manifest(folder)});
      return folder;
    } catch (const UserError& problem) {
      if (complaints != nullptr) complaints->push_back(problem.what());
    }
  }
  return std::nullopt;
}

}  // namespace vmla::trainer
