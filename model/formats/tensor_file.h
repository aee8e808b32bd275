#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "model/formats/safetensors.h"

namespace vmla::model {

struct TensorFile {
  TensorMap tensors;                // views into mapped files: clone before writing
  TensorMetadata metadata;          // of safetensors
  std::vector<std::string> others;  // of torch.save: keys of the outermost dict without tensors
};

/// Reads named tensors from whatever they are kept in: a `.safetensors` file, the shards of a
/// `*.safetensors.index.json`, a folder that holds either (read_safetensors_sharded), or a file of
/// torch.save (read_torch_file), whose nested dicts give names with dots. What a file is, it says
/// itself: extensions do not matter. UserError in one line that names the file and what is wrong.
TensorFile read_tensor_file(const std::filesystem::path& path);

/// The same for who needs no more than the tensors.
TensorMap read_tensors(const std::filesystem::path& path);

/// What a program has put in front of all names ("module.", "text_encoder."), told by one of
/// `anchors`, names that the network has: what stands before it. Empty where an anchor is there as
/// it is, or none is there. For files of one network; choose_network() takes one of several.
std::string prefix_before(const TensorMap& tensors, const std::vector<std::string>& anchors);

}  // namespace vmla::model
