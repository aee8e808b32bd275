#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "model/formats/safetensors.h"

namespace vmla::model {

/// A tensor that a codec's weights must hold.
struct CodecTensor {
  std::string name;
  std::vector<int64_t> shape;
};

/// The tensors of a codec's weights, mapped from `path`: a file or folder that read_tensors()
/// takes, or a download of Wan, which has them in `vae/` or `Wan2.1_VAE.pth`. UserError says what
/// is wrong.
TensorMap read_codec_tensors(const std::filesystem::path& path);

/// `tensors` without what stands in front of all their names ("vae.", "module."): in front of the
/// first of `anchors`, names of which one must be there. As they are if none is found.
TensorMap without_prefix(const TensorMap& tensors, const std::vector<std::string>& anchors);

/// UserError, in one line, if `tensors` are not just the `expected` ones: what is missing, of
/// another shape or left over; or if one holds no finite floating-point numbers. `what` names the
/// codec, `source` the file.
void check_codec_tensors(const std::vector<CodecTensor>& expected,
                         const TensorMap& tensors,
                         const std::string& what,
                         const std::string& source);

/// SHA-256 of the `expected` tensors' names, shapes and values in fp32, after `parameters`, which
/// is all else that determines the codec's mapping. The same for every layout of the same weights.
std::string weights_hash(const std::string& parameters,
                         const std::vector<CodecTensor>& expected,
                         const TensorMap& tensors);

}  // namespace vmla::model
