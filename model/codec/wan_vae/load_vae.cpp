#include "model/codec/wan_vae/load_vae.h"

#include <ATen/ATen.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "model/io/json_text.h"
#include "model/io/quoted_name.h"

namespace vmla::model {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::json;

/// The folder in which the config.json of the weights at `path` would be.
fs::path config_folder(const fs::path& path) {
  std::error_code ignored;
  if (!fs::is_directory(path, ignored)) return path.parent_path();
  return fs::is_directory(path / "vae", ignored) ? path / "vae" : path;
}

/// The config.json beside the weights; null where there is none, or it is another model's, such as
/// the transformer's in a folder that holds all of Wan.
Json vae_config(const fs::path& path) {
  const fs::path file = config_folder(path) / "config.json";
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return nullptr;
  Json config = io::parse_json<Json>(io::read_text_file(file), file.string());
  if (config.is_discarded() || !config.is_object()) {
    fail_user("{}: is no JSON object", file.string());
  }
  const auto kind = config.find("_class_name");
  const bool is_vae = kind != config.end() && kind->is_string()
                          ? kind->get<std::string>() == "AutoencoderKLWan"
                          : config.contains("z_dim");
  return is_vae ? config : Json(nullptr);
}

/// The list of `count` numbers at `key`, if the config has one.
std::optional<std::vector<double>> numbers_at(const Json& config,
                                              const std::string& key,
                                              int64_t count,
                                              const fs::path& file) {
  if (config.is_null() || !config.contains(key)) return std::nullopt;
  std::vector<double> numbers;
  const Json& list = config.at(key);
  for (const Json& entry : list.is_array() ? list : Json::array()) {
    if (entry.is_number()) numbers.push_back(entry.get<double>());
  }
  if (!list.is_array() || numbers.size() != list.size() ||
      static_cast<int64_t>(numbers.size()) != count) {
    fail_user(
        "{}: {} must be a list of {} numbers, one a latent channel", file.string(), key, count);
  }
  return numbers;
}

LatentStatistics statistics_of(const Json& config, int64_t channels, const fs::path& path) {
  const fs::path file = config_folder(path) / "config.json";
  const auto mean = numbers_at(config, "latents_mean", channels, file);
  const auto deviation = numbers_at(config, "latents_std", channels, file);
  if (mean.has_value() != deviation.has_value()) {
    fail_user("{}: has only one of latents_mean and latents_std; both are needed, or neither",
              file.string());
  }
  if (!mean) {
    if (channels == 16) return LatentStatistics::wan21();
    fail_user(
        "{}: has {} latent channels, and no config.json beside it says their latents_mean and "
        "latents_std; they are known for the 16 of Wan 2.1 alone",
        path.string(),
        channels);
  }
  for (size_t i = 0; i < mean->size(); ++i) {
    if (!std::isfinite((*mean)[i]) || !((*deviation)[i] > 0) || !std::isfinite((*deviation)[i])) {
      fail_user("{}: latents_std must be above 0 and both lists finite, channel {} is not",
                file.string(),
                i);
    }
  }
  return {*mean, *deviation};
}

/// What of a VAE's structure no tensor's shape says: it must be Wan 2.1's.
void check_structure(const Json& config, const fs::path& path) {
  if (config.is_null()) return;
  const auto expect = [&](const char* key, const Json& wanted) {
    const auto found = config.find(key);
    if (found == config.end() || found->is_null() || *found == wanted) return;
    fail_user("{}: {} is {}, Wan 2.1's VAE has {}",
              (config_folder(path) / "config.json").string(),
              key,
              io::quoted_name(found->dump()),
              wanted.dump());
  };
  expect("is_residual", false);  // true in Wan 2.2
  expect("num_res_blocks", 2);
  expect("attn_scales", Json::array());
  expect("temperal_downsample", Json::array({false, true, true}));
  expect("in_channels", 3);
  expect("out_channels", 3);
}

/// Under the original names, whichever of the two the file has.
TensorMap under_original_names(TensorMap tensors) {
  if (!tensors.contains("decoder.conv_in.weight")) return tensors;
  for (const CodecTensor& tensor : vae_tensors({})) {
    // A shortcut is there or not as the widths want it, so all places that may have one are tried.
    const std::string block = tensor.name.substr(0, tensor.name.find(".residual."));
    const auto rename = [&](const std::string& name) {
      auto entry = tensors.extract(diffusers_vae_name(name));
      if (entry.empty()) return;
      entry.key() = name;
      tensors.insert(std::move(entry));
    };
    rename(tensor.name);
    if (block != tensor.name) {
      rename(block + ".shortcut.weight");
      rename(block + ".shortcut.bias");
    }
  }
  return tensors;
}

/// The file's tensors, mapped, under their original names.
TensorMap original_tensors(const fs::path& path) {
  return under_original_names(
      without_prefix(read_codec_tensors(path), {"decoder.conv1.weight", "decoder.conv_in.weight"}));
}

}  // namespace

LoadedVae sizes_only_vae(const fs::path& path) {
  LoadedVae vae{.sizes = {}, .statistics = LatentStatistics::wan21(), .tensors = {}};
  if (!path.empty()) vae.sizes = vae_sizes(original_tensors(path), path.string());
  for (const CodecTensor& tensor : vae_tensors(vae.sizes)) {
    vae.tensors[tensor.name] = at::empty(tensor.shape, at::device(at::kMeta).dtype(at::kFloat));
  }
  return vae;
}

LoadedVae load_vae(const fs::path& path) {
  const std::string source = path.string();
  const Json config = vae_config(path);
  check_structure(config, path);
  LoadedVae vae;
  vae.tensors = original_tensors(path);
  vae.sizes = vae_sizes(vae.tensors, source);
  check_codec_tensors(vae_tensors(vae.sizes), vae.tensors, "a VAE of Wan 2.1", source);
  vae.statistics = statistics_of(config, vae.sizes.latent, path);
  return vae;
}

}  // namespace vmla::model
