#include "model/formats/export_origin.h"

#include <nlohmann/json.hpp>

#include "model/formats/export_manifest.h"
#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "model/io/json_text.h"

namespace vmla::model {
namespace fs = std::filesystem;
namespace {

using Document = nlohmann::json;

/// A text of the object `source`; empty where it has none.
std::string text_at(const Document& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

/// The only file of torch.save among the names of `files`.
std::string torch_file_of(const Document& files) {
  std::string only;
  for (const auto& [name, entry] : files.items()) {
    if (!name.ends_with(".pt") && !name.ends_with(".pth")) continue;
    if (!only.empty() || name.find('/') != std::string::npos) return {};
    only = name;
  }
  return only;
}

}  // namespace

ExportOrigin parse_export_manifest(std::string_view text, const std::string& file_name) {
  const auto json = io::parse_json<Document>(text, file_name);
  if (!json.is_object() || text_at(json, "format") != "vmla export")
    fail_user("{}: no manifest of vmla export (\"format\": \"vmla export\")", file_name);
  ExportOrigin out;
  const auto source = json.find("source");
  if (source != json.end() && source->is_object()) {
    out.stage = text_at(*source, "stage");
    out.role = text_at(*source, "role");
    const auto step = source->find("step");
    if (step != source->end() && step->is_number_unsigned() && *step <= uint64_t{INT64_MAX})
      out.step = step->get<int64_t>();
  }
  const auto files = json.find("files");
  if (files != json.end() && files->is_object()) out.torch_file = torch_file_of(*files);
  if (const auto model = json.find("model"); model != json.end())
    out.model = parse_model_json(model->dump(), file_name + " (model)");
  if (const auto sampling = json.find("sampling"); sampling != json.end())
    out.sampling = parse_sampling_json(sampling->dump(), file_name + " (sampling)");
  return out;
}

std::optional<ExportOrigin> read_export_origin(const fs::path& folder) {
  const fs::path manifest = folder / kExportManifestName;
  if (!fs::exists(manifest)) return std::nullopt;
  ExportOrigin out = parse_export_manifest(io::read_text_file(manifest), manifest.string());
  const fs::path sampling = folder / "sampling.json";
  if (!out.sampling && fs::exists(sampling))
    out.sampling = parse_sampling_json(io::read_text_file(sampling), sampling.string());
  return out;
}

}  // namespace vmla::model
