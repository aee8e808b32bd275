#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "model/formats/engine_rules.h"
#include "model/formats/load_weights.h"

/// Weights in the layouts of other programs (docs/algorithms.md 2.11). docs/formats.md describes
/// the folders.
namespace vmla::model {

struct ExportOptions {
  std::string format = "videomla";                 // of export_formats()
  std::optional<at::ScalarType> dtype;             // of every floating tensor; none: as they are
  uint64_t shard_bytes = 5'000'000'000;            // larger models are split, with an index
  std::map<std::string, std::string> extra_files;  // further text files of the folder: name to text
  /// How the model is sampled; none: what the weights' own folder says, if it is of `vmla export`.
  std::optional<SamplingFacts> sampling = std::nullopt;
};

/// Writes `weights` as a folder: the tensors in the file or shards of the format, its texts, a
/// model card (README.md) and export_manifest.json with the hash of every file and tensor. The
/// tensors are read back and compared bit by bit before the folder is published. UserError for an
/// MLA model in a dense layout: no exact dense form exists.
void export_weights(const LoadedWeights& weights,
                    const ExportOptions& options,
                    const std::filesystem::path& out);

/// The type that `--dtype` names: "bf16" or "fp32".
at::ScalarType export_dtype(const std::string& name);

/// `vmla convert`: dense weights in another layout, values and types unchanged. `to` is "wan" or
/// "diffusers", the names to be written; "" stands for the names that `in` does not have, and for
/// Wan's where `in` or `out` is a file of torch.save, whose prefixes go anyway. `out` ending in
/// .safetensors, .pt or .pth is one file, anything else a folder with config.json. Tensors go from
/// the mapped source to the file one at a time.
void convert_weights(const std::filesystem::path& in,
                     const std::filesystem::path& out,
                     const std::string& weights_role = {},
                     const std::string& to = {});

}  // namespace vmla::model
