#include "trainer/config/file_keys.h"

#include <algorithm>
#include <cctype>

#include "model/io/error.h"

namespace vmla::trainer {

void check_keys(const ConfigNode& node,
                const std::string& section,
                const std::vector<std::string>& valid) {
  for (const auto& entry : node.entries) {
    if (std::find(valid.begin(), valid.end(), entry.key) == valid.end()) {
      fail_unknown_key(entry, section, valid, {});
    }
  }
}

const ConfigNode& required(const ConfigNode& node,
                           const std::string& section,
                           const std::string& key) {
  const ConfigNode* value = node.find(key);
  if (value == nullptr) fail_user("{}: {}{} is missing", node.origin, section, key);
  return *value;
}

void check_name(const ConfigNode& node, const std::string& key, const std::string& name) {
  const bool good = !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '_' || c == '-';
  });
  if (!good)
    fail_user("{}: {}: '{}' is no name; use letters, digits, '_' and '-'", node.origin, key, name);
}

}  // namespace vmla::trainer
