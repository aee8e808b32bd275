#include "trainer/checkpoint/checkpoint.h"

#include "model/config/config_json.h"
#include "model/io/error.h"

namespace vmla::trainer {

namespace {

/// A network's sizes as a manifest states them. They are checked before anything is built of them:
/// a stage makes lists of its layers and tensors of their sizes.
model::PartialConfig network_of(const std::string& json, const std::string& manifest_name) {
  model::PartialConfig network = model::parse_model_json(json, manifest_name);
  try {
    model::validate_model(network.config, "model");
  } catch (const UserError& problem) {
    fail_user("{}: {}", manifest_name, problem.what());
  }
  return network;
}

}  // namespace

CheckpointInfo checkpoint_info(const model::CheckpointFolder& checkpoint) {
  const io::CheckpointManifest& manifest = checkpoint.manifest;
  const std::string manifest_name = (checkpoint.path / io::kManifestName).string();
  CheckpointInfo info;
  info.step = manifest.step;
  info.stage = manifest.stage;
  info.counters = manifest.counters;
  info.data_position = manifest.data_position;
  info.config_yaml = manifest.config_yaml;
  const model::PartialConfig network = network_of(manifest.model_json, manifest_name);
  info.model = network.config;
  info.init_method = network.init_method;
  for (const auto& [role, entry] : manifest.roles) {
    if (entry.model_json.empty()) continue;
    info.role_models[role] = network_of(entry.model_json, manifest_name).config;
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
