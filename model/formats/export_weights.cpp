#include "model/formats/export_weights.h"

#include <ATen/ATen.h>

#include <cstring>
#include <vector>

#include "model/formats/export_format.h"
#include "model/formats/export_manifest.h"
#include "model/formats/model_card.h"
#include "model/formats/weight_names.h"
#include "model/formats/write_torch_file.h"
#include "model/formats/written_form.h"
#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "model/io/file_writer.h"
#include "model/io/log.h"
#include "model/io/mapped_file.h"
#include "model/io/quoted_name.h"
#include "model/io/safetensors_index.h"
#include "model/weights/weights.h"

namespace vmla::model {
namespace fs = std::filesystem;
namespace {

/// The tensors under the names that they have in the file.
TensorMap named_for(const TensorMap& tensors, const ExportFormat& format) {
  TensorMap renamed;
  for (const auto& [name, tensor] : tensors) {
    const auto theirs = format.diffusers_names ? wan_to_diffusers(name) : name;
    TORCH_CHECK(theirs.has_value(), "a dense tensor without a name in diffusers: ", name);
    renamed.emplace(std::string(format.prefix) + *theirs, tensor);
  }
  return renamed;
}

/// Splits the tensors, in the order of their names, into shards of at most options.shard_bytes; a
/// larger tensor is a shard of its own. The shards only refer to the tensors, which are
/// converted to another dtype one by one as they are written.
std::vector<TensorMap> shards_of(const TensorMap& tensors, const ExportOptions& options) {
  std::vector<TensorMap> shards(1);
  uint64_t filled = 0;
  for (const auto& [name, tensor] : tensors) {
    const bool convert = options.dtype && tensor.is_floating_point();
    const uint64_t element = convert ? c10::elementSize(*options.dtype) : tensor.element_size();
    const uint64_t bytes = static_cast<uint64_t>(tensor.numel()) * element;
    if (!shards.back().empty() && filled + bytes > options.shard_bytes) {
      shards.emplace_back();
      filled = 0;
    }
    shards.back().emplace(name, tensor);
    filled += bytes;
  }
  return shards;
}

std::string shard_name(std::string_view stem, size_t index, size_t count) {
  if (count == 1) return formatted("{}.safetensors", stem);
  return formatted("{}-{:05}-of-{:05}.safetensors", stem, index + 1, count);
}

/// Writes a text file into the folder that is being made.
io::ManifestFile write_text(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  io::FileWriter file(path);
  file.write(text.data(), text.size());
  file.close();
  return {file.bytes(), file.sha256()};
}

void hash_tensor(const std::string& name, const at::Tensor& data, ExportManifest& manifest) {
  manifest.tensor_sha256[name] = io::sha256_hex(data.const_data_ptr(), data.nbytes());
}

void write_safetensors_files(const fs::path& folder,
                             const TensorMap& tensors,
                             const ExportFormat& format,
                             const TensorMetadata& header,
                             const ExportOptions& options,
                             ExportManifest& manifest) {
  const std::vector<TensorMap> shards =
      format.file == WeightFile::kShards ? shards_of(tensors, options) : std::vector{tensors};
  std::map<std::string, std::string> weight_map;
  uint64_t total_bytes = 0;
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string name = shard_name(format.tensors, i, shards.size());
    const std::string file = fs::path(name).filename().string();
    const WrittenFile written =
        write_safetensors_unflushed(folder / name,
                                    shards[i],
                                    header,
                                    options.dtype,
                                    [&](const std::string& tensor, const at::Tensor& data) {
                                      hash_tensor(tensor, data, manifest);
                                      weight_map[tensor] = file;
                                      total_bytes += data.nbytes();
                                    });
    manifest.files[name] = {written.bytes, written.sha256};
  }
  if (shards.size() > 1) {
    const std::string name = formatted("{}.safetensors.index.json", format.tensors);
    manifest.files[name] =
        write_text(folder / name, io::safetensors_index_json(weight_map, total_bytes));
  }
}

/// Both names that readers of such files look for hold the same weights, stored once.
void write_torch_tensors(const fs::path& folder,
                         const TensorMap& tensors,
                         const ExportFormat& format,
                         const ExportOptions& options,
                         ExportManifest& manifest) {
  const std::string name = formatted("{}.pt", format.tensors);
  const WrittenFile written =
      write_torch_file_unflushed(folder / name,
                                 {"generator_ema", "generator"},
                                 tensors,
                                 options.dtype,
                                 [&](const std::string& tensor, const at::Tensor& data) {
                                   hash_tensor(tensor, data, manifest);
                                 });
  manifest.files[name] = {written.bytes, written.sha256};
  const io::MappedFile file(folder / name);
  for (const WrittenTensor& place : written.tensors) {
    const char* const bytes = file.view().data() + place.offset;
    if (io::sha256_hex(bytes, place.bytes) != manifest.tensor_sha256.at(place.name))
      fail_run("export: tensor {} reads back otherwise than written", io::quoted_name(place.name));
  }
}

/// Reads the folder back as any reader of it would, and compares every bit with what was to be
/// written.
void verify_export(const fs::path& folder,
                   const LoadedWeights& weights,
                   const ExportOptions& options) {
  const LoadedWeights back = read_weights(folder);
  if (back.tensors.size() != weights.tensors.size()) {
    fail_run(
        "export: {} tensors read back, {} written", back.tensors.size(), weights.tensors.size());
  }
  const WrittenForm form(weights.tensors, options.dtype);
  for (const auto& [name, tensor] : weights.tensors) {
    const auto found = back.tensors.find(name);
    const at::Tensor expected = form.of(tensor);
    const bool same = found != back.tensors.end() && found->second.sizes() == expected.sizes() &&
                      found->second.scalar_type() == expected.scalar_type() &&
                      (expected.nbytes() == 0 || std::memcmp(found->second.const_data_ptr(),
                                                             expected.const_data_ptr(),
                                                             expected.nbytes()) == 0);
    if (!same)
      fail_run("export: tensor {} reads back otherwise than written", io::quoted_name(name));
  }
  const ModelConfig &ours = weights.config, &theirs = back.config;
  if (theirs.num_heads != ours.num_heads || theirs.eps != ours.eps) {
    // Tensor shapes do not tell these two.
    fail_run("export: config.json reads back with another num_heads or eps");
  }
  check_weights(theirs, back.tensors, "export, read back");
}

void refuse_mla(const LoadedWeights& weights, std::string_view wanted) {
  if (!weights.config.is_mla()) return;
  fail_user(
      "{}: an MLA model has no exact dense form, so it cannot be written as '{}'; use vmla export "
      "--format videomla",
      weights.source,
      wanted);
}

bool has_torch_extension(const fs::path& path) {
  const std::string extension = path.extension().string();
  return extension == ".pt" || extension == ".pth";
}

/// Where nothing says how it is sampled, a model with latent attention or a window is taken for one
/// that is sampled chunk by chunk.
ExportSource source_of(const LoadedWeights& weights,
                       const ModelConfig& config,
                       const ExportOptions& options) {
  ExportSource source;
  source.config = config;
  source.init_method = config.is_mla() ? weights.stated.init_method : "";
  std::optional<SamplingFacts> known = options.sampling;
  if (!known && weights.exported) known = weights.exported->sampling;
  source.sampling_is_known = known.has_value();
  source.sampling.causal = config.is_mla() || config.local_attn_size > 0;
  if (known) {
    source.sampling = *known;
  } else if (!source.sampling.causal) {
    source.sampling.sampler = "unipc";  // as a model that nobody has distilled is
  }
  return source;
}

ExportManifest manifest_of(const LoadedWeights& weights,
                           const ExportSource& source,
                           const ExportFormat& format) {
  ExportManifest manifest;
  manifest.layout = format.name;
  manifest.source = weights.source;
  manifest.role = weights.role;
  manifest.stage = weights.stage;
  manifest.step = weights.step;
  manifest.init_method = weights.stated.init_method;
  if (weights.step < 0 && weights.exported) {
    manifest.role = weights.exported->role;
    manifest.stage = weights.exported->stage;
    manifest.step = weights.exported->step;
  }
  manifest.engines = engine_notes(format.name, source.config, source.sampling);
  manifest.model = source.config;
  if (source.sampling_is_known) manifest.sampling = source.sampling;
  return manifest;
}

}  // namespace

at::ScalarType export_dtype(const std::string& name) {
  if (name == "bf16") return at::kBFloat16;
  if (name == "fp32") return at::kFloat;
  fail_user("--dtype {}: bf16 or fp32 is needed", name);
}

void export_weights(const LoadedWeights& weights,
                    const ExportOptions& options,
                    const fs::path& out) {
  const ExportFormat& format = export_format(options.format);
  if (!format.latent) refuse_mla(weights, format.name);
  // The folder gets a config.json. Where num_heads had to be guessed, that must have been possible.
  const ModelConfig config =
      weights.config_is_complete ? weights.config : model_config_with(weights, {});
  check_weights(config, weights.tensors, weights.source);
  const ExportSource source = source_of(weights, config, options);
  ExportManifest manifest = manifest_of(weights, source, format);
  io::publish_folder(out, [&](const fs::path& folder) {
    const auto add = [&](const std::string& name, const std::string& text) {
      manifest.files[name] = write_text(folder / name, text);
    };
    for (const TextFile& file : format.texts(source)) add(file.path, file.text);
    add("README.md", model_card(format, source, manifest.stage, manifest.step));
    for (const auto& [name, text] : options.extra_files) add(name, text);
    const TensorMap named = named_for(weights.tensors, format);
    if (format.file == WeightFile::kTorch) {
      write_torch_tensors(folder, named, format, options, manifest);
    } else {
      write_safetensors_files(folder, named, format, format.header(source), options, manifest);
      verify_export(folder, weights, options);
    }
    manifest.checks.push_back({"tensors", "self", 0.0});
    write_text(folder / kExportManifestName, export_manifest_json(manifest));
  });
  log::info("wrote {}: {} tensors, layout {}", out.string(), weights.tensors.size(), format.name);
}

void convert_weights(const fs::path& in,
                     const fs::path& out,
                     const std::string& weights_role,
                     const std::string& to) {
  const bool torch = has_torch_extension(out);
  const LoadedWeights weights = load_weights(in, weights_role);
  const bool from_torch =
      has_torch_extension(in) || (weights.exported && !weights.exported->torch_file.empty());
  const bool wan = to.empty() ? weights.diffusers_names || torch || from_torch : to == "wan";
  const ExportFormat& format = export_format(wan ? "wan" : "diffusers");
  refuse_mla(weights, format.name);
  if (!torch && out.extension() != ".safetensors") {
    export_weights(
        weights, {.format = std::string(format.name), .dtype = {}, .extra_files = {}}, out);
    return;
  }
  // A bare file says nothing of what it is: it is checked here, as far as its shapes tell.
  check_weights(weights.config, weights.tensors, weights.source);
  const TensorMap named = named_for(weights.tensors, format);
  if (torch) {
    io::publish_file(out, [&](const fs::path& temporary) {
      write_torch_file_unflushed(
          temporary, {"state_dict"}, named, {}, [](const auto&, const auto&) {});
    });
  } else {
    write_safetensors(out, named, {{"format", "pt"}});
  }
  log::info("wrote {}: {} tensors, names of {}", out.string(), weights.tensors.size(), format.name);
}

}  // namespace vmla::model
