#include "trainer/roles/stage_origin.h"

#include "model/config/config_rule.h"
#include "model/formats/load_weights.h"
#include "model/io/error.h"
#include "model/io/log.h"
#include "model/io/sha256.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <filesystem>
#include <set>

namespace vmla::trainer {
namespace {

constexpr char kClips[] = "dataset_clips", kHash[] = "dataset_hash", kSource[] = "source.";

/// The hash of 64 digits as messages show it.
std::string shortened(const std::string& hash) {
  return hash.substr(0, 12);
}

std::string described(const data::DatasetIdentity& data) {
  return formatted("{} clips (hash {})", data.clips, shortened(data.hash));
}

}  // namespace

void write_origin(const StageOrigin& origin, std::map<std::string, io::ManifestValue>& values) {
  if (origin.data) {
    values[kClips] = origin.data->clips;
    values[kHash] = origin.data->hash;
  }
  for (const auto& [source, hash] : origin.sources) values[kSource + source] = hash;
}

StageOrigin read_origin(const std::map<std::string, io::ManifestValue>& values) {
  StageOrigin origin;
  const auto clips = values.find(kClips), hash = values.find(kHash);
  if (clips != values.end() && hash != values.end() &&
      std::holds_alternative<int64_t>(clips->second) &&
      std::holds_alternative<std::string>(hash->second)) {
    origin.data = data::DatasetIdentity{.clips = std::get<int64_t>(clips->second),
                                        .hash = std::get<std::string>(hash->second)};
  }
  for (const auto& [key, value] : values) {
    if (key.starts_with(kSource) && std::holds_alternative<std::string>(value))
      origin.sources[key.substr(sizeof kSource - 1)] = std::get<std::string>(value);
  }
  return origin;
}

std::string weights_hash(const model::TensorMap& tensors) {
  constexpr size_t kBytes = 4096;
  io::Sha256 hash;
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor data = tensor.contiguous();
    const std::string head =
        formatted("{} {} {}\n", name, c10::toString(data.scalar_type()), data.sizes());
    hash.update(head.data(), head.size());
    const auto* const bytes = static_cast<const char*>(data.const_data_ptr());
    const size_t size = data.nbytes(), part = std::min(size, kBytes);
    for (const size_t begin : {size_t{0}, (size - part) / 2, size - part})
      hash.update(bytes + begin, part);
  }
  return hash.finish();
}

KnownByContent known_by_content(const StageOrigin& saved,
                                const TrainConfig& before,
                                const TrainConfig& now) {
  KnownByContent known{.data = saved.data.has_value(), .sources = {}};
  for (const auto& [source, hash] : saved.sources) {
    const auto old = before.init_from.find(source), today = now.init_from.find(source);
    if (old == before.init_from.end() || today == now.init_from.end()) continue;
    if (old->second.path == today->second.path) continue;
    // Weights that are not there cannot be compared; the change of the path is then refused.
    if (!std::filesystem::exists(today->second.path)) continue;
    const auto loaded = model::read_weights(today->second.path, today->second.role);
    if (weights_hash(loaded.tensors) == hash || now.init.allow_other_source)
      known.sources.insert(source);
  }
  return known;
}

void expect_same_data(const TrainConfig& config,
                      const StageOrigin& saved,
                      const data::DatasetIdentity& today,
                      int64_t step) {
  if (!saved.data) {
    log::info("the checkpoint of step {} does not say which clips it was trained on", step);
    return;
  }
  if (*saved.data == today) return;
  const std::string change = formatted("holds {}, the {} steps so far were trained on {}",
                                       described(today),
                                       step,
                                       described(*saved.data));
  if (!config.data.allow_other_data) {
    fail_rule("data.path",
              "{} {}; give the data back, start anew in another --run-dir, or permit it with "
              "data.allow_other_data: true",
              config.data.path,
              change);
  }
  log::warn("data.path: {} {} (data.allow_other_data)", config.data.path, change);
}

void expect_same_source(const TrainConfig& config,
                        const StageOrigin& saved,
                        const std::string& source,
                        const std::string& today,
                        const std::string& described,
                        int64_t step) {
  const auto before = saved.sources.find(source);
  if (before == saved.sources.end() || before->second == today) return;
  const std::string change =
      formatted("{} holds other weights (hash {}) than the {} steps so far were trained with ({})",
                described,
                shortened(today),
                step,
                shortened(before->second));
  const std::string key = "init_from." + source;
  if (!config.init.allow_other_source) {
    fail_rule(key,
              "{}; name the weights of then, start anew in another --run-dir, or permit it with "
              "init.allow_other_source: true",
              change);
  }
  log::warn("{}: {} (init.allow_other_source)", key, change);
}

}  // namespace vmla::trainer
