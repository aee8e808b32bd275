#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "model/formats/safetensors.h"

namespace vmla::model {

struct TorchFile {
  /// Named by the keys that lead to them ("generator_ema.model.head.head.bias"), with the strides
  /// that they were saved with. Views into the mapped file, which stays mapped while any of them
  /// lives. Clone before writing.
  TensorMap tensors;
  std::vector<std::string> others;  // keys of the outermost dict with no tensor below them
};

/// Maps a file of torch.save (`.pt`, `.pth`, `.bin`) since PyTorch 1.6 and reads the dicts of
/// tensors in it. Nothing that its pickle says is run. Booleans, and tensors that lie misaligned,
/// are copied. UserError as in model/io/torch_archive.h.
TorchFile read_torch_file(const std::filesystem::path& path);

}  // namespace vmla::model
