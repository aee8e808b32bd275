#include "model/formats/export_weights.h"

#include <ATen/ATen.h>

#include <cstring>
#include <vector>

#include "model/formats/export_manifest.h"
#include "model/formats/weight_names.h"
#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "model/io/file_writer.h"
#include "model/io/log.h"
#include "model/io/quoted_name.h"
#include "model/io/safetensors_index.h"
#include "model/weights/weights.h"

namespace vmla::model {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kModelFile = "diffusion_pytorch_model";

std::string layout_name(WeightLayout layout) {
  switch (layout) {
    case WeightLayout::kWan:
      return "wan";
    case WeightLayout::kDiffusers:
      return "diffusers";
    case WeightLayout::kVideomla:
      break;
  }
  return "videomla";
}

std::string config_text(const LoadedWeights& weights, WeightLayout layout) {
  switch (layout) {
    case WeightLayout::kWan:
      return wan_config_json(weights.config);
    case WeightLayout::kDiffusers:
      return diffusers_config_json(weights.config);
    case WeightLayout::kVideomla:
      break;
  }
  return videomla_config_json(weights.config, weights.stated.init_method);
}

/// The tensors under the names of `layout`.
TensorMap named_for(const TensorMap& tensors, WeightLayout layout) {
  if (layout != WeightLayout::kDiffusers) return tensors;
  TensorMap renamed;
  for (const auto& [name, tensor] : tensors) {
    const auto diffusers = wan_to_diffusers(name);
    TORCH_CHECK(diffusers.has_value(), "a dense tensor without a name in diffusers: ", name);
    renamed.emplace(*diffusers, tensor);
  }
  return renamed;
}

at::Tensor as_written(const at::Tensor& tensor, std::optional<at::ScalarType> dtype) {
  const bool convert = dtype && tensor.is_floating_point();
  return tensor.detach().to(at::kCPU, convert ? *dtype : tensor.scalar_type()).contiguous();
}

/// Splits the tensors, in the order of their names, into shards of at most options.shard_bytes; a
/// larger tensor is a shard of its own. The shards only refer to the tensors: conversion to another
/// dtype happens shard by shard, so that one shard at a time is in memory.
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

std::string shard_name(size_t index, size_t count) {
  if (count == 1) return formatted("{}.safetensors", kModelFile);
  return formatted("{}-{:05}-of-{:05}.safetensors", kModelFile, index + 1, count);
}

/// Writes a text file into the folder that is being made.
io::ManifestFile write_text(const fs::path& path, const std::string& text) {
  io::FileWriter file(path);
  file.write(text.data(), text.size());
  file.close();
  return {file.bytes(), file.sha256()};
}

void write_tensors(const fs::path& folder,
                   const TensorMap& tensors,
                   const ExportOptions& options,
                   ExportManifest& manifest) {
  const std::vector<TensorMap> shards = shards_of(tensors, options);
  std::map<std::string, std::string> weight_map;
  uint64_t total_bytes = 0;
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string name = shard_name(i, shards.size());
    TensorMap ready;
    for (const auto& [tensor_name, tensor] : shards[i]) {
      const at::Tensor data = ready[tensor_name] = as_written(tensor, options.dtype);
      manifest.tensor_sha256[tensor_name] = io::sha256_hex(data.const_data_ptr(), data.nbytes());
      weight_map[tensor_name] = name;
      total_bytes += data.nbytes();
    }
    const WrittenFile written =
        write_safetensors_unflushed(folder / name, ready, {{"format", "pt"}});
    manifest.files[name] = {written.bytes, written.sha256};
  }
  if (shards.size() > 1) {
    const std::string name = formatted("{}.safetensors.index.json", kModelFile);
    manifest.files[name] =
        write_text(folder / name, io::safetensors_index_json(weight_map, total_bytes));
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
  for (const auto& [name, tensor] : weights.tensors) {
    const auto found = back.tensors.find(name);
    const at::Tensor expected = as_written(tensor, options.dtype);
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

at::ScalarType dtype_named(const std::string& name) {
  if (name == "bf16") return at::kBFloat16;
  if (name == "fp32") return at::kFloat;
  fail_user("--dtype {}: bf16 or fp32 is needed", name);
}

void refuse_mla(const LoadedWeights& weights, const std::string& wanted) {
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

}  // namespace

WeightLayout weight_layout(const std::string& name) {
  for (const WeightLayout layout :
       {WeightLayout::kWan, WeightLayout::kDiffusers, WeightLayout::kVideomla}) {
    if (layout_name(layout) == name) return layout;
  }
  if (name == "pt")
    fail_user("--format pt: .pt files cannot be written yet; use wan, diffusers or videomla");
  fail_user("--format {}: wan, diffusers or videomla is needed", name);
}

void export_weights(const LoadedWeights& weights,
                    const ExportOptions& options,
                    const fs::path& out) {
  if (options.layout != WeightLayout::kVideomla) refuse_mla(weights, layout_name(options.layout));
  // The folder gets a config.json. Where num_heads had to be guessed, that must have been possible.
  const ModelConfig config =
      weights.config_is_complete ? weights.config : model_config_with(weights, {});
  check_weights(config, weights.tensors, weights.source);
  ExportManifest manifest;
  manifest.layout = layout_name(options.layout);
  manifest.source = weights.source;
  manifest.role = weights.role;
  manifest.stage = weights.stage;
  manifest.step = weights.step;
  manifest.init_method = weights.stated.init_method;
  io::publish_folder(out, [&](const fs::path& folder) {
    manifest.files["config.json"] =
        write_text(folder / "config.json", config_text(weights, options.layout));
    write_tensors(folder, named_for(weights.tensors, options.layout), options, manifest);
    for (const auto& [name, text] : options.extra_files) {
      manifest.files[name] = write_text(folder / name, text);
    }
    verify_export(folder, weights, options);
    manifest.checks.push_back({"tensors", "self", 0.0});
    write_text(folder / "export_manifest.json", export_manifest_json(manifest));
  });
  log::info("wrote {}: {} tensors, layout {}",
            out.string(),
            weights.tensors.size(),
            layout_name(options.layout));
}

void export_checkpoint(const fs::path& checkpoint,
                       const std::string& format,
                       const std::string& weights_role,
                       const std::string& dtype,
                       const fs::path& out) {
  ExportOptions options;
  options.layout = weight_layout(format);
  options.dtype = dtype_named(dtype);
  if (weights_role != "ema" && weights_role != "raw") {
    fail_user("--weights {}: ema or raw is needed", weights_role);
  }
  export_weights(load_weights(checkpoint, weights_role), options, out);
}

void convert_weights(const fs::path& in,
                     const fs::path& out,
                     const std::string& weights_role,
                     const std::string& to) {
  const std::string extension = out.extension().string();
  if (has_torch_extension(out)) {
    fail_user("{}: {} files cannot be written yet; use .safetensors or a folder",
              out.string(),
              extension);
  }
  const LoadedWeights weights = load_weights(in, weights_role);
  const bool wan = to.empty() ? weights.diffusers_names || has_torch_extension(in) : to == "wan";
  const WeightLayout layout = wan ? WeightLayout::kWan : WeightLayout::kDiffusers;
  refuse_mla(weights, layout_name(layout));
  if (extension != ".safetensors") {
    export_weights(weights, {.layout = layout, .dtype = {}, .extra_files = {}}, out);
    return;
  }
  // A bare file says nothing of what it is: it is checked here, as far as its shapes tell.
  check_weights(weights.config, weights.tensors, weights.source);
  write_safetensors(out, named_for(weights.tensors, layout), {{"format", "pt"}});
  log::info("wrote {}: {} tensors, names of {}",
            out.string(),
            weights.tensors.size(),
            layout_name(layout));
}

}  // namespace vmla::model
