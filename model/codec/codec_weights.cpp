#include "model/codec/codec_weights.h"

#include <ATen/ATen.h>

#include <set>

#include "model/formats/tensor_file.h"
#include "model/formats/weight_values.h"
#include "model/io/error.h"
#include "model/io/quoted_name.h"
#include "model/io/sha256.h"

namespace vmla::model {
namespace fs = std::filesystem;
namespace {

/// The first few of a list of problems, in one line.
[[noreturn]] void refuse(const std::vector<std::string>& problems,
                         const std::string& what,
                         const std::string& source) {
  constexpr size_t kShown = 4;
  std::string list;
  for (size_t i = 0; i < problems.size() && i < kShown; ++i) list += (i ? "; " : "") + problems[i];
  if (problems.size() > kShown) list += formatted("; and {} more", problems.size() - kShown);
  fail_user("{}: is not {}: {}", source, what, list);
}

}  // namespace

TensorMap read_codec_tensors(const fs::path& path) {
  for (const char* inside : {"vae", "Wan2.1_VAE.pth"}) {
    std::error_code ignored;
    if (fs::exists(path / inside, ignored)) return read_tensors(path / inside);
  }
  return read_tensors(path);
}

TensorMap without_prefix(const TensorMap& tensors, const std::vector<std::string>& anchors) {
  const std::string prefix = prefix_before(tensors, anchors);
  TensorMap renamed;
  for (const auto& [name, tensor] : tensors) {
    renamed.emplace(name.starts_with(prefix) ? name.substr(prefix.size()) : name, tensor);
  }
  return renamed;
}

void check_codec_tensors(const std::vector<CodecTensor>& expected,
                         const TensorMap& tensors,
                         const std::string& what,
                         const std::string& source) {
  std::vector<std::string> problems;
  std::set<std::string> known;
  for (const auto& [name, shape] : expected) {
    known.insert(name);
    const auto found = tensors.find(name);
    if (found == tensors.end()) {
      problems.push_back(formatted("{} is missing", name));
    } else if (found->second.sizes() != at::IntArrayRef(shape)) {
      problems.push_back(
          formatted("{} is {}, should be {}", name, found->second.sizes(), at::IntArrayRef(shape)));
    }
  }
  for (const auto& [name, tensor] : tensors) {
    if (!known.contains(name)) {
      problems.push_back(formatted("{} is not part of it", io::quoted_name(name)));
    }
  }
  if (!problems.empty()) refuse(problems, what, source);
  for (const auto& [name, tensor] : tensors) check_weight_values(name, tensor, source);
}

std::string weights_hash(const std::string& parameters,
                         const std::vector<CodecTensor>& expected,
                         const TensorMap& tensors) {
  io::Sha256 hash;
  hash.update(parameters.data(), parameters.size());
  for (const auto& [name, shape] : expected) {
    const std::string head = formatted("\n{} {}\n", name, at::IntArrayRef(shape));
    hash.update(head.data(), head.size());
    const at::Tensor values = tensors.at(name).to(at::kCPU, at::kFloat).contiguous();
    hash.update(values.const_data_ptr(), values.nbytes());
  }
  return hash.finish();
}

}  // namespace vmla::model
