#include "model/formats/load_weights.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <set>

#include "model/formats/checkpoint_reader.h"
#include "model/formats/export_manifest.h"
#include "model/formats/network_choice.h"
#include "model/formats/tensor_file.h"
#include "model/formats/weight_names.h"
#include "model/formats/weight_values.h"
#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "model/io/log.h"
#include "model/io/quoted_name.h"

namespace vmla::model {
namespace fs = std::filesystem;
namespace {

TensorShapes shapes_of(const TensorMap& tensors) {
  TensorShapes shapes;
  for (const auto& [name, tensor] : tensors) shapes.emplace(name, tensor.sizes().vec());
  return shapes;
}

bool is_own_name(std::string_view name) {
  return wan_to_diffusers(name).has_value() || diffusers_to_wan(name).has_value();
}

/// The network that `role` means, among what the file holds.
struct FoundNetwork {
  TensorMap tensors;  // under the network's own names
  std::string prefix;
  std::map<std::string, size_t> others;
};

FoundNetwork find_network(TensorFile file, const std::string& role, const std::string& source) {
  std::vector<std::string> names;
  names.reserve(file.tensors.size());
  for (const auto& [name, tensor] : file.tensors) names.push_back(name);
  NetworkChoice choice =
      choose_network(names, is_own_name, "blocks.0.self_attn.q.weight", role, source);
  FoundNetwork found{.tensors = {}, .prefix = choice.prefix, .others = choice.others};
  for (const auto& [own, stored] : choice.names) {
    // torch.save keeps strides; what computes with weights takes them row by row.
    found.tensors.emplace(own, file.tensors.at(stored).contiguous());
  }
  for (const std::string& other : file.others) found.others.emplace(other, 0);
  return found;
}

TensorMap from_diffusers(const TensorMap& tensors, const std::string& source) {
  TensorMap renamed;
  for (const auto& [name, tensor] : tensors) {
    const auto wan = diffusers_to_wan(name);
    if (!wan) {
      fail_user("{}: tensor {} is not one of diffusers' WanTransformer3DModel (text to video)",
                source,
                io::quoted_name(name));
    }
    renamed.emplace(*wan, tensor);
  }
  return renamed;
}

/// Takes over the values of the keys that `wanted` names.
void take_fields(PartialConfig& to,
                 const PartialConfig& from,
                 const std::set<std::string>& wanted) {
  // The visitor's field types differ, so the values are looked up by address.
  std::map<std::string, const void*> values;
  ModelConfig::fields(from.config, [&](const std::string& key, const auto& field, const auto&) {
    values[key] = &field;
  });
  ModelConfig::fields(to.config, [&](const std::string& key, auto& field, const auto&) {
    if (!wanted.contains(key)) return;
    field = *static_cast<const std::remove_reference_t<decltype(field)>*>(values.at(key));
    to.given.insert(key);
  });
}

/// Window and chunks of a model of which it is known how it is sampled, where config.json does not
/// state them: those of other programs have no place for them.
void take_causal_settings(PartialConfig& stated, const ExportOrigin& origin) {
  if (!origin.model || !origin.sampling) return;
  std::set<std::string> missing;
  for (const char* const key : {"num_frame_per_block",
                                "independent_first_frame",
                                "local_attn_size",
                                "sink_size",
                                "rope_cache_policy"}) {
    if (origin.model->given.contains(key) && !stated.given.contains(key)) missing.insert(key);
  }
  take_fields(stated, *origin.model, missing);
}

/// Where num_heads is not stated it is taken to be dim / 128, as in Wan. UserError if that is no
/// whole number: nothing better can be guessed.
void require_heads(const PartialConfig& stated,
                   const ModelConfig& config,
                   const std::string& source) {
  if (stated.given.contains("num_heads") || config.dim % 128 == 0) return;
  fail_user(
      "{}: no config.json says num_heads, and dim {} is not a multiple of 128; give --set "
      "model.num_heads=N",
      source,
      config.dim);
}

/// Infers and checks the configuration once the tensors and what the source states are known.
LoadedWeights finish(TensorMap tensors, PartialConfig stated, std::string source) {
  for (const auto& [name, tensor] : tensors) check_weight_values(name, tensor, source);
  LoadedWeights out;
  out.tensors = std::move(tensors);
  out.source = std::move(source);
  out.config_is_complete = stated.given.contains("num_heads") && stated.given.contains("text_len");
  out.stated = stated;
  infer_model_sizes(stated, shapes_of(out.tensors));
  out.config = stated.config;
  if (out.config_is_complete) {
    try {
      validate_model(out.config, "");
    } catch (const UserError& problem) {
      fail_user("{}: {}", out.source, problem.what());
    }
  }
  return out;
}

/// The first of the usual roles that the checkpoint has.
std::string choose_role(const CheckpointFolder& checkpoint, const std::string& wanted) {
  if (wanted == "raw") return "generator";
  if (!wanted.empty() && wanted != "ema") return wanted;
  for (const char* const role : {"generator_ema", "target_ema", "generator"}) {
    if (checkpoint.manifest.roles.contains(role)) return role;
  }
  return "generator";  // not there either: the reader lists what is
}

LoadedWeights from_checkpoint(const fs::path& path, const std::string& wanted) {
  const CheckpointFolder checkpoint = open_checkpoint(path);
  const std::string role = choose_role(checkpoint, wanted);
  TensorMap tensors = read_checkpoint_role(checkpoint, role);
  const std::string& json = checkpoint_model_json(checkpoint, role);
  PartialConfig stated;
  if (!json.empty()) {
    stated = parse_model_json(json, (checkpoint.path / io::kManifestName).string() + " (model)");
  }
  LoadedWeights out = finish(
      std::move(tensors), std::move(stated), formatted("{} ({})", checkpoint.path.string(), role));
  out.step = checkpoint.manifest.step;
  out.stage = checkpoint.manifest.stage;
  out.role = role;
  out.stage_config = checkpoint.manifest.config_yaml;
  return out;
}

/// A pipeline's root holds the network in `transformer`.
fs::path network_folder(const fs::path& folder) {
  const fs::path transformer = folder / "transformer";
  return fs::is_directory(transformer) && !fs::exists(folder / "config.json") ? transformer
                                                                              : folder;
}

PartialConfig config_beside(const fs::path& folder) {
  const fs::path path = folder / "config.json";
  if (!fs::exists(path)) return {};
  return parse_model_json(io::read_text_file(path), path.string());
}

/// Whether the folder holds safetensors. Files of torch.save may be of anything there: an
/// optimizer, a VAE.
bool has_model_file(const fs::path& folder) {
  std::error_code problem;
  fs::directory_iterator entry(folder, problem);
  for (; !problem && entry != fs::directory_iterator(); entry.increment(problem)) {
    const std::string name = entry->path().filename().string();
    if (name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json")) return true;
  }
  if (problem) fail_user("{}: cannot be read: {}", folder.string(), problem.message());
  return false;
}

}  // namespace

LoadedWeights read_weights(const fs::path& path, const std::string& role) {
  if (!fs::exists(fs::symlink_status(path))) fail_user("{}: no such file or folder", path.string());
  if (!io::find_checkpoint(path).empty()) return from_checkpoint(path, role);
  // A file inside a checkpoint folder holds one role: the manifest beside it has the configuration.
  if (fs::exists(path.parent_path() / io::kManifestName)) {
    return from_checkpoint(path.parent_path(), path.stem().string());
  }

  const bool is_folder = fs::is_directory(path);
  const fs::path folder = is_folder ? network_folder(path) : path.parent_path();
  const std::optional<ExportOrigin> exported =
      read_export_origin(is_folder ? path : path.parent_path());
  fs::path file = is_folder ? folder : path;
  if (is_folder && exported && !exported->torch_file.empty()) {
    file = folder / exported->torch_file;
    if (!fs::exists(file))
      fail_user("{}: {} is missing, which {} lists",
                path.string(),
                io::quoted_name(exported->torch_file),
                kExportManifestName);
  } else if (is_folder && !has_model_file(folder)) {
    fail_user(
        "{}: no weights found; a checkpoint, a run folder, a Wan or diffusers folder (config.json "
        "and .safetensors), a .safetensors or a .pt file is needed",
        path.string());
  }
  PartialConfig stated = config_beside(folder);
  if (exported) take_causal_settings(stated, *exported);
  FoundNetwork found = find_network(read_tensor_file(file), role, path.string());
  const bool diffusers = std::ranges::any_of(
      found.tensors, [](const auto& entry) { return is_diffusers_name(entry.first); });
  if (diffusers) found.tensors = from_diffusers(found.tensors, path.string());
  LoadedWeights out = finish(std::move(found.tensors), std::move(stated), path.string());
  out.diffusers_names = diffusers;
  out.prefix = std::move(found.prefix);
  out.others = std::move(found.others);
  out.exported = exported;
  return out;
}

LoadedWeights load_weights(const fs::path& path, const std::string& role) {
  LoadedWeights out = read_weights(path, role);
  log::info("weights: {}, {} tensors{}{}{}",
            out.source,
            out.tensors.size(),
            out.prefix.empty()
                ? ""
                : formatted(", names without the prefix {}", io::quoted_name(out.prefix)),
            out.stated.given.empty() ? ", sizes inferred (no config.json beside them)" : "",
            out.others.empty() ? "" : formatted("; ignored: {}", list_others(out.others)));
  return out;
}

ModelConfig model_config_with(const LoadedWeights& weights, const PartialConfig& overridden) {
  PartialConfig merged = weights.stated;
  take_fields(merged, overridden, overridden.given);
  infer_model_sizes(merged, shapes_of(weights.tensors));
  require_heads(merged, merged.config, weights.source);
  validate_model(merged.config, "model");
  return merged.config;
}

}  // namespace vmla::model
