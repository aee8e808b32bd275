#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace vmla::model {

/// Named tensors in the order of their names.
using TensorMap = std::map<std::string, at::Tensor>;
using TensorMetadata = std::map<std::string, std::string>;

struct SafetensorsFile {
  TensorMap tensors;  // mapped read-only: clone before writing. The file stays mapped while any of them lives.
  TensorMetadata metadata;
};

/// Maps a safetensors file. Validates everything first: header length, JSON, dtypes, shapes against byte
/// ranges, overlaps, holes, the file's end. UserError names the file, the tensor and what is wrong.
SafetensorsFile read_safetensors(const std::filesystem::path& path);

/// Where one tensor's bytes lie in a written file.
struct WrittenTensor {
  std::string name;
  uint64_t offset;  // from the start of the file
  uint64_t bytes;
};

/// Writes contiguous copies of `tensors` (on any device) with `metadata`, atomically. Returns where each one is.
std::vector<WrittenTensor> write_safetensors(const std::filesystem::path& path,
                                             const TensorMap& tensors,
                                             const TensorMetadata& metadata = {});

}  // namespace vmla::model
