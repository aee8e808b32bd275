#include "model/text/umt5_weights.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "model/formats/tensor_file.h"
#include "model/formats/weight_values.h"
#include "model/io/error.h"
#include "model/io/quoted_name.h"
#include "model/io/sha256.h"
#include "model/text/umt5_config_json.h"
#include "model/text/umt5_names.h"

namespace vmla::model {
namespace fs = std::filesystem;
namespace {

/// The folder or file that holds the encoder: a pipeline's folder has it in `text_encoder`.
fs::path encoder_of(const fs::path& path) {
  std::error_code none;
  if (!fs::is_directory(path, none)) return path;
  for (const char* inside : {"text_encoder", "models_t5_umt5-xxl-enc-bf16.pth"}) {
    if (fs::exists(path / inside, none)) return path / inside;
  }
  return path;
}

/// The tensors under Wan's names; what is not part of an encoder is complained of.
TensorMap renamed(const TensorMap& tensors, std::vector<std::string>& problems) {
  const std::string prefix = prefix_before(
      tensors, {"token_embedding.weight", "shared.weight", "encoder.embed_tokens.weight"});
  TensorMap known;
  for (const auto& [name, tensor] : tensors) {
    const std::string bare = name.starts_with(prefix) ? name.substr(prefix.size()) : name;
    if (is_umt5_decoder_name(bare)) continue;
    const auto wan = wan_name_of_umt5(bare);
    if (!wan) {
      problems.push_back(formatted("{} is not part of it", io::quoted_name(name)));
    } else if (!tensor.is_floating_point() || tensor.element_size() < 2) {
      problems.push_back(formatted("{} is of type {}, not bf16, fp16 or fp32",
                                   io::quoted_name(name),
                                   c10::toString(tensor.scalar_type())));
      known.emplace(*wan, tensor);
    } else if (!known.emplace(*wan, tensor).second && *wan != "token_embedding.weight") {
      // transformers may store the embedding under both of its names.
      problems.push_back(formatted("{} is there under two names", *wan));
    }
  }
  return known;
}

/// Size `axis` of a tensor that may be missing or of other dimensions: 0 then, which the comparison
/// of shapes finds.
int64_t size_of(const TensorMap& tensors, const std::string& name, int64_t axis) {
  const auto found = tensors.find(name);
  return found != tensors.end() && found->second.dim() == 2 ? found->second.size(axis) : 0;
}

int64_t layers_of(const TensorMap& tensors) {
  int64_t layers = 0;
  for (const auto& [name, tensor] : tensors) {
    if (!name.starts_with("blocks.")) continue;
    int64_t index = 0;
    std::from_chars(name.data() + 7, name.data() + name.size(), index);
    // A file has no block without tensors, so more than that cannot all be there.
    layers = std::max(layers, std::min(index + 1, static_cast<int64_t>(tensors.size())));
  }
  return layers;
}

/// Sizes by the first block's tensors.
void infer_sizes(const TensorMap& tensors, Umt5Config& config) {
  config.vocabulary = size_of(tensors, "token_embedding.weight", 0);
  config.dim = size_of(tensors, "token_embedding.weight", 1);
  config.attention_dim = size_of(tensors, "blocks.0.attn.q.weight", 0);
  config.ffn_dim = size_of(tensors, "blocks.0.ffn.fc1.weight", 0);
  config.buckets = size_of(tensors, "blocks.0.pos_embedding.embedding.weight", 0);
  config.num_heads = size_of(tensors, "blocks.0.pos_embedding.embedding.weight", 1);
  config.num_layers = layers_of(tensors);
}

[[noreturn]] void fail_with(const std::string& source, const std::vector<std::string>& problems) {
  constexpr size_t kShown = 4;
  std::string list;
  for (size_t i = 0; i < problems.size() && i < kShown; ++i) list += (i ? "; " : "") + problems[i];
  if (problems.size() > kShown) list += formatted("; and {} more", problems.size() - kShown);
  fail_user("{}: is no UMT5 encoder: {}", source, list);
}

void check_sizes(const Umt5Config& c, const std::string& source) {
  if (c.num_heads < 1 || c.attention_dim % c.num_heads != 0) {
    fail_user("{}: an attention width of {} cannot be shared out over {} heads",
              source,
              c.attention_dim,
              c.num_heads);
  }
  if (c.buckets % 2 != 0 || c.buckets < 4 || c.max_distance <= c.buckets / 4) {
    fail_user(
        "{}: {} buckets of relative positions up to distance {}: they must be an even number of "
        "at least 4, and the distance above a quarter of it",
        source,
        c.buckets,
        c.max_distance);
  }
}

}  // namespace

Umt5Weights umt5_weights(const TensorMap& tensors, Umt5Config config, const std::string& source) {
  std::vector<std::string> problems;
  const TensorMap known = renamed(tensors, problems);
  infer_sizes(known, config);
  Umt5Weights weights;
  weights.config = config;
  weights.blocks.resize(static_cast<size_t>(config.num_layers));
  if (config.num_layers == 0) problems.emplace_back("it has no blocks");
  std::set<std::string> expected;
  Umt5Weights::fields(
      weights, [&](const std::string& name, at::Tensor& tensor, std::vector<int64_t> shape) {
        expected.insert(name);
        const auto found = known.find(name);
        if (found == known.end()) {
          problems.push_back(name + " is missing");
        } else if (found->second.sizes() != at::IntArrayRef(shape)) {
          problems.push_back(
              formatted("{} is {}, not {}", name, found->second.sizes(), at::IntArrayRef(shape)));
        } else {
          tensor = found->second;
        }
      });
  for (const auto& [name, tensor] : known) {
    if (!expected.contains(name))
      problems.push_back(name + " belongs to a block that is not there");
  }
  if (!problems.empty()) fail_with(source, problems);
  check_sizes(config, source);
  for (const auto& [name, tensor] : known) check_weight_values(name, tensor, source);
  return weights;
}

LoadedUmt5 read_umt5(const fs::path& path) {
  const fs::path place = encoder_of(path);
  const std::string source = place.string();
  const fs::path folder = fs::is_directory(place) ? place : place.parent_path();
  const TensorMap tensors = read_tensors(place);
  const StatedUmt5 stated = read_umt5_config(folder / "config.json");
  LoadedUmt5 loaded{.weights = umt5_weights(tensors, stated.config, source), .source = source};
  check_stated(stated, loaded.weights.config, source);
  return loaded;
}

std::string umt5_hash(const Umt5Weights& weights) {
  constexpr int64_t kNumbers = 2048;
  io::Sha256 hash;
  Umt5Weights::fields(
      weights, [&](const std::string& name, const at::Tensor& tensor, const std::vector<int64_t>&) {
        const std::string head = formatted("{} {}\n", name, tensor.sizes());
        hash.update(head.data(), head.size());
        const at::Tensor flat = tensor.reshape({-1});
        const int64_t size = flat.numel(), part = std::min(size, kNumbers);
        for (const int64_t begin : {int64_t{0}, (size - part) / 2, size - part}) {
          const at::Tensor numbers =
              flat.narrow(0, begin, part).to(at::kCPU, at::kFloat).contiguous();
          hash.update(numbers.const_data_ptr(), numbers.nbytes());
        }
      });
  return hash.finish();
}

}  // namespace vmla::model
