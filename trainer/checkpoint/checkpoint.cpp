#include "trainer/checkpoint/checkpoint.h"

#include "model/config/config_json.h"

namespace vmla::trainer {

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

CheckpointData load_checkpoint(const std::filesystem::path& path) {
  const model::CheckpointFolder checkpoint = model::open_checkpoint(path);
  CheckpointData data{checkpoint_info(checkpoint), {}};
  for (const auto& [role, entry] : checkpoint.manifest.roles) {
    data.roles[role] = model::read_checkpoint_role(checkpoint, role);
  }
  return data;
}

}  // namespace vmla::trainer
