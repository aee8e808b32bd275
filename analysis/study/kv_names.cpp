#include "analysis/study/kv_names.h"

#include <yaml-cpp/yaml.h>

#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "model/io/yaml_text.h"

namespace vmla::analysis {
namespace {

constexpr std::string_view kLayer = "{layer}";

}  // namespace

std::string name_of_layer(const std::string& pattern, int64_t layer) {
  std::string name = pattern;
  const size_t at = name.find(kLayer);
  if (at != std::string::npos) name.replace(at, kLayer.size(), std::to_string(layer));
  return name;
}

KvNames read_kv_names(const std::filesystem::path& yaml) {
  const KvNames ours;
  KvNames names;
  const auto documents = io::parse_yaml_documents(io::read_text_file(yaml), yaml.string());
  const YAML::Node map = documents.empty() ? YAML::Node() : documents[0];
  if (!map.IsMap())
    fail_user("{}: expected a map from our tensor names to the file's", yaml.string());
  for (const auto& entry : map) {
    const std::string key = entry.first.as<std::string>("");
    std::string* target = key == "k" || key == ours.k   ? &names.k
                          : key == "v" || key == ours.v ? &names.v
                                                        : nullptr;
    if (target == nullptr) {
      fail_user("{}: unknown key '{}'; valid are '{}' and '{}' (or k and v)",
                yaml.string(),
                key,
                ours.k,
                ours.v);
    }
    if (!entry.second.IsScalar() || entry.second.Scalar().find(kLayer) == std::string::npos) {
      fail_user("{}: the value of '{}' must be a tensor name with {} where the number stands",
                yaml.string(),
                key,
                kLayer);
    }
    *target = entry.second.Scalar();
  }
  return names;
}

}  // namespace vmla::analysis
