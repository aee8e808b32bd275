#include "analysis/runs/flat_yaml.h"

#include <yaml-cpp/yaml.h>

#include "model/io/yaml_text.h"

namespace vmla::analysis {
namespace {

void flatten(const YAML::Node& node,
             const std::string& key,
             std::map<std::string, std::string>& out) {
  if (node.IsScalar()) {
    out[key] = node.Scalar();
  } else if (node.IsSequence()) {
    std::string list;
    for (const auto& item : node) {
      list += (list.empty() ? "" : ", ") + (item.IsScalar() ? item.Scalar() : YAML::Dump(item));
    }
    out[key] = "[" + list + "]";
  } else if (node.IsMap()) {
    for (const auto& entry : node) {
      const std::string name = entry.first.Scalar();
      flatten(entry.second, key.empty() ? name : key + "." + name, out);
    }
  }
}

}  // namespace

std::map<std::string, std::string> flat_yaml(const std::string& text, const std::string& name) {
  std::map<std::string, std::string> scalars;
  for (const YAML::Node& document : io::parse_yaml_documents(text, name))
    flatten(document, "", scalars);
  return scalars;
}

}  // namespace vmla::analysis
