#include "trainer/config/config_yaml.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>

#include "model/config/config_rule.h"
#include "model/io/atomic_file.h"
#include "trainer/config/config_visit.h"
#include "trainer/config/validate_config.h"

namespace vmla::trainer {
namespace {

// Sections nest four deep. The limit also ends the recursion of a yaml anchor that contains itself.
constexpr int kDeepest = 32;

std::string place(const std::string& name, const YAML::Mark& mark) {
  return mark.is_null() ? name : formatted("{}:{}", name, mark.line + 1);
}

// yaml-cpp's node as ours, with `origin` as its place and `name:line` as that of what it holds.
ConfigNode convert(const YAML::Node& yaml,
                   const std::string& name,
                   const std::string& origin,
                   int depth) {
  if (depth > kDeepest) fail_user("{}: nested more than {} levels deep", origin, kDeepest);
  ConfigNode node;
  node.origin = origin;
  switch (yaml.Type()) {
    case YAML::NodeType::Undefined:
    case YAML::NodeType::Null:
      break;
    case YAML::NodeType::Scalar:
      node.kind = ConfigNode::Kind::kScalar;
      node.scalar = yaml.Scalar();
      // yaml-cpp marks a quoted scalar by the tag "!", a plain one by "?".
      node.quoted = yaml.Tag() == "!";
      break;
    case YAML::NodeType::Sequence:
      node.kind = ConfigNode::Kind::kList;
      for (const auto& item : yaml)
        node.items.push_back(convert(item, name, place(name, item.Mark()), depth + 1));
      break;
    case YAML::NodeType::Map:
      node.kind = ConfigNode::Kind::kMap;
      for (const auto& item : yaml) {
        const std::string here = place(name, item.first.Mark());
        if (!item.first.IsScalar()) fail_user("{}: a key must be a single word", here);
        const std::string key = item.first.Scalar();
        if (const ConfigNode* earlier = node.find(key)) {
          fail_user("{}: key {} is given twice, first at {}; keep one", here, key, earlier->origin);
        }
        node.entries.push_back({key, convert(item.second, name, here, depth + 1)});
      }
      break;
  }
  return node;
}

// yaml-cpp counts the lines of an override's own text; its place is the override.
void set_origin(ConfigNode& node, const std::string& origin) {
  node.origin = origin;
  for (auto& item : node.items) set_origin(item, origin);
  for (auto& entry : node.entries) set_origin(entry.value, origin);
}

// Mappings are merged key by key; any other value replaces what was there.
void merge(ConfigNode& target, const ConfigNode& value) {
  if (!target.is_map() || !value.is_map()) {
    target = value;
    return;
  }
  target.origin = value.origin;  // what is wrong with the whole is the latest writer's
  for (const auto& [key, item] : value.entries) {
    if (ConfigNode* existing = target.find(key)) {
      merge(*existing, item);
    } else {
      target.entries.push_back({key, item});
    }
  }
}

// Full keys of every section and leaf, for suggestions.
std::vector<std::string> all_keys() {
  std::vector<ConfigKey> keys;
  list_keys("", TrainConfig{}, keys);
  std::vector<std::string> names;
  for (const auto& key : keys) names.push_back(key.key);
  return names;
}

// Runs `function` and puts file and line in front of a broken rule. Rules know keys, the tree knows
// where each of them was written.
template <class Function>
void with_origins(const ConfigNode& root, const Function& function) {
  try {
    function();
  } catch (const ConfigRuleError& error) {
    const std::string origin = origin_of(root, error.key());
    throw UserError(origin.empty() ? error.what() : origin + ": " + error.what());
  }
}

// The file, if any, and the overrides on top of it, the last one winning.
ConfigNode load_tree(const std::filesystem::path& path, const std::vector<std::string>& overrides) {
  ConfigNode root;
  if (!path.empty()) root = parse_yaml_file(path);
  for (const auto& override : overrides) apply_override(root, override);
  return root;
}

// `base` with what the tree says written over it; no rules.
TrainConfig read_tree(const ConfigNode& root, const TrainConfig& base) {
  TrainConfig config = base;
  ConfigReader(all_keys()).read(root, "", config);
  return config;
}

}  // namespace

ConfigNode parse_yaml(const std::string& text, const std::string& name) {
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(text);
    if (documents.size() > 1)
      fail_user("{}: holds {} yaml documents; keep one", name, documents.size());
    ConfigNode root = documents.empty() ? ConfigNode{} : convert(documents[0], name, name, 0);
    root.origin = name;
    return root;
  } catch (const YAML::Exception& error) {
    fail_user("{}: not valid yaml: {}", place(name, error.mark), error.msg);
  }
}

ConfigNode parse_yaml_file(const std::filesystem::path& path) {
  return parse_yaml(io::read_text_file(path), path.string());
}

void assign(ConfigNode& root, const std::string& key, const ConfigNode& value) {
  ConfigNode* node = &root;
  size_t begin = 0;
  while (true) {
    const size_t end = std::min(key.find('.', begin), key.size());
    const std::string name = key.substr(begin, end - begin);
    if (name.empty())
      fail_user("{}: key '{}' has an empty part; write section.key=value", value.origin, key);
    // A section without any line below it is null in yaml.
    if (node->is_null()) node->kind = ConfigNode::Kind::kMap;
    if (!node->is_map()) {
      fail_user(
          "{}: {} at {} is not a section", value.origin, key.substr(0, begin - 1), node->origin);
    }
    ConfigNode* next = node->find(name);
    if (next == nullptr) {
      node->entries.push_back({name, {}});
      next = &node->entries.back().value;
      next->origin = value.origin;
    }
    node = next;
    if (end == key.size()) break;
    begin = end + 1;
  }
  merge(*node, value);
}

void apply_override(ConfigNode& root, const std::string& assignment, size_t key_begin) {
  const std::string origin = "--set " + assignment;
  const size_t equals = assignment.find('=');
  if (equals == std::string::npos || equals <= key_begin) {
    fail_user("{}: is no assignment; write --set section.key=value", origin);
  }
  ConfigNode value;
  try {
    value = convert(YAML::Load(assignment.substr(equals + 1)), origin, origin, 0);
  } catch (const YAML::Exception& error) {
    fail_user("{}: the value is not valid yaml: {}", origin, error.msg);
  }
  set_origin(value, origin);
  assign(root, assignment.substr(key_begin, equals - key_begin), value);
}

TrainConfig load_config(const ConfigNode& root, Purpose purpose) {
  TrainConfig config;
  with_origins(root, [&] {
    config = read_tree(root, {});
    // 0 stands for the whole batch. The number is stored, so that a run that is resumed with a file
    // that says it outright shows no difference.
    if (config.train.micro_batch_size == 0) config.train.micro_batch_size = config.train.batch_size;
    validate_config(config, purpose);
  });
  return config;
}

TrainConfig load_config(const std::filesystem::path& path,
                        const std::vector<std::string>& overrides,
                        Purpose purpose) {
  return load_config(load_tree(path, overrides), purpose);
}

TrainConfig read_config(const std::filesystem::path& path,
                        const std::vector<std::string>& overrides,
                        const TrainConfig& base) {
  const ConfigNode root = load_tree(path, overrides);
  TrainConfig config;
  with_origins(root, [&] {
    config = read_tree(root, base);
    model::validate_model(config.model, "model");
  });
  return config;
}

void check_config_syntax(const std::filesystem::path& path,
                         const std::vector<std::string>& overrides) {
  const ConfigNode root = load_tree(path, overrides);
  with_origins(root, [&] { read_tree(root, {}); });
}

void with_config_origins(const std::filesystem::path& path,
                         const std::vector<std::string>& overrides,
                         const std::function<void()>& work) {
  with_origins(load_tree(path, overrides), work);
}

std::string resolved_yaml(const TrainConfig& config) {
  return to_yaml(to_node(config));
}

TrainConfig parse_resolved(const std::string& yaml, const std::string& name) {
  const ConfigNode root = parse_yaml(yaml, name);
  TrainConfig config;
  with_origins(root, [&] { config = read_tree(root, {}); });
  return config;
}

}  // namespace vmla::trainer
