#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace vmla::model {

/// Named tensors in the order of their names.
using TensorMap = std::map<std::string, at::Tensor>;
using TensorMetadata = std::map<std::string, std::string>;

struct SafetensorsFile {
  /// Views into the mapped file, which stays mapped while any of them lives. Clone before writing.
  TensorMap tensors;
  TensorMetadata metadata;
};

/// Maps a safetensors file, after checking all of its header: length, JSON, dtypes, shapes against
/// byte ranges, overlaps, gaps, the file's end. UserError names the file, the tensor and what is
/// wrong. Tensors that lie misaligned in the file, and booleans, are copied.
SafetensorsFile read_safetensors(const std::filesystem::path& path);

/// Reads a model that may be split: a .safetensors file, a `*.safetensors.index.json` with the
/// shards beside it, or a folder that holds either (`diffusion_pytorch_model` first). UserError if
/// a shard is missing or holds other tensors than the index says.
SafetensorsFile read_safetensors_sharded(const std::filesystem::path& folder_or_index);

/// Where one tensor's bytes lie in a written file.
struct WrittenTensor {
  std::string name;
  uint64_t offset;  // from the start of the file
  uint64_t bytes;
};

struct WrittenFile {
  std::vector<WrittenTensor> tensors;  // in the order of their names
  uint64_t bytes = 0;
  std::string sha256;
};

/// Writes `tensors` (of any strides, on any device) with `metadata`, atomically. The data is packed
/// without gaps, larger element sizes first, so that every tensor is aligned and a reader can map
/// it.
WrittenFile write_safetensors(const std::filesystem::path& path,
                              const TensorMap& tensors,
                              const TensorMetadata& metadata = {});

/// Called with each tensor as it was written.
using TensorWritten = std::function<void(const std::string& name, const at::Tensor& data)>;

/// The same without the atomic rename and flush: for files inside a folder that is published as a
/// whole. `dtype`, if given, is that of every floating tensor in the file; one tensor at a time is
/// converted and in memory.
WrittenFile write_safetensors_unflushed(const std::filesystem::path& path,
                                        const TensorMap& tensors,
                                        const TensorMetadata& metadata = {},
                                        std::optional<at::ScalarType> dtype = {},
                                        const TensorWritten& written = {});

}  // namespace vmla::model
