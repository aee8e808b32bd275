#include "model/formats/tensor_file.h"

#include <utility>

#include "model/formats/torch_file.h"
#include "model/io/mapped_file.h"

namespace vmla::model {
namespace fs = std::filesystem;
namespace {

/// Whether the file begins as one of safetensors: the length of a header, and its first brace.
/// Files of torch.save begin otherwise, those of its older formats too.
bool begins_as_safetensors(const fs::path& path) {
  const io::MappedFile file(path);
  return file.size() > 8 && file.view()[8] == '{';
}

}  // namespace

TensorFile read_tensor_file(const fs::path& path) {
  const bool named = path.extension() == ".safetensors" || path.string().ends_with(".index.json");
  if (fs::is_directory(path) || named || begins_as_safetensors(path)) {
    SafetensorsFile file = read_safetensors_sharded(path);
    return {.tensors = std::move(file.tensors), .metadata = std::move(file.metadata), .others = {}};
  }
  TorchFile file = read_torch_file(path);
  return {.tensors = std::move(file.tensors), .metadata = {}, .others = std::move(file.others)};
}

TensorMap read_tensors(const fs::path& path) {
  return read_tensor_file(path).tensors;
}

std::string prefix_before(const TensorMap& tensors, const std::vector<std::string>& anchors) {
  std::string prefix;
  for (const std::string& anchor : anchors) {
    if (tensors.contains(anchor)) return {};
    for (const auto& [name, tensor] : tensors) {
      if (prefix.empty() && name.ends_with("." + anchor))
        prefix = name.substr(0, name.size() - anchor.size());
    }
  }
  return prefix;
}

}  // namespace vmla::model
