#include "model/formats/export_manifest.h"

#include <nlohmann/json.hpp>

#include "model/config/config_json.h"
#include "model/io/json_text.h"

namespace vmla::model {

std::string export_manifest_json(const ExportManifest& manifest) {
  using Json = nlohmann::ordered_json;
  Json json = {{"format", "vmla export"}, {"format_version", 1}, {"layout", manifest.layout}};
  Json& source = json["source"] = {{"path", manifest.source}};
  if (manifest.step >= 0) {
    source["step"] = manifest.step;
    source["stage"] = manifest.stage;
    source["role"] = manifest.role;
  }
  if (!manifest.init_method.empty()) source["init_method"] = manifest.init_method;
  json["model"] = io::parse_json<Json>(model_json(manifest.model, manifest.init_method), "model");
  if (manifest.sampling)
    json["sampling"] = io::parse_json<Json>(sampling_json(*manifest.sampling), "sampling");
  json["hash_algorithm"] = "sha256";
  json["files"] = Json::object();
  for (const auto& [name, file] : manifest.files) {
    json["files"][name] = {{"bytes", file.bytes}, {"sha256", file.sha256}};
  }
  json["tensors"] = manifest.tensor_sha256;
  json["checks"] = Json::array();
  for (const ExportCheck& check : manifest.checks) {
    json["checks"].push_back(
        {{"name", check.name}, {"verifier", check.verifier}, {"error", check.error}});
  }
  json["engines"] = Json::array();
  for (const EngineNote& note : manifest.engines) {
    Json entry = {{"engine", note.engine}, {"settings", Json::object()}, {"exact_frames", nullptr}};
    for (const auto& [name, value] : note.fields) entry["settings"][name] = value;
    if (note.exact_frames) entry["exact_frames"] = *note.exact_frames;
    entry["why"] = note.why;
    json["engines"].push_back(std::move(entry));
  }
  return json.dump(2) + "\n";
}

}  // namespace vmla::model
