#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "model/formats/safetensors.h"

namespace vmla::model {

/// Writes the dict {key: {name: tensor}} for each of `keys`, as torch.save does since PyTorch 1.6:
/// a zip file with a pickle and one entry a storage, aligned to 64 bytes. torch.load reads it, with
/// weights_only too. The dicts of all keys share the storages, which stand in the file once.
/// `dtype`, if given, is that of every floating tensor in the file; one tensor at a time is
/// converted and in memory. `written` is called with what was written of each. Not atomic and not
/// flushed: for files inside a folder that is published as a whole.
WrittenFile write_torch_file_unflushed(
    const std::filesystem::path& path,
    const std::vector<std::string>& keys,
    const TensorMap& tensors,
    std::optional<at::ScalarType> dtype,
    const std::function<void(const std::string& name, const at::Tensor& data)>& written);

}  // namespace vmla::model
