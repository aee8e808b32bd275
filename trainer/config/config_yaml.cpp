#include "trainer/config/config_yaml.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <unordered_map>

#include "model/config/config_rule.h"
#include "model/io/atomic_file.h"
#include "model/io/yaml_text.h"
#include "trainer/config/config_visit.h"
#include "trainer/config/validate_config.h"

namespace vmla::trainer {
namespace {

std::string place(const std::string& name, const YAML::Mark& mark) {
  return mark.is_null() ? name : formatted("{}:{}", name, mark.line + 1);
}

// yaml-cpp's node as ours, with `origin` as its place and `name:line` as that of what it holds. How
// deep and how large it becomes is bounded by parse_yaml_documents.
ConfigNode convert(const YAML::Node& yaml, const std::string& name, const std::string& origin) {
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
        node.items.push_back(convert(item, name, place(name, item.Mark())));
      break;
    case YAML::NodeType::Map: {
      node.kind = ConfigNode::Kind::kMap;
      std::unordered_map<std::string, std::string> places;  // of the keys so far
      for (const auto& item : yaml) {
        const std::string here = place(name, item.first.Mark());
        if (!item.first.IsScalar()) fail_user("{}: a key must be a single word", here);
        const std::string key = item.first.Scalar();
        const auto [earlier, is_new] = places.emplace(key, here);
        if (!is_new) {
          fail_user("{}: key {} is given twice, first at {}; keep one", here, key, earlier->second);
        }
        node.entries.push_back({key, convert(item.second, name, here)});
      }
      break;
    }
  }
  return node;
}

// yaml-cpp counts the lines of an override's own text; its place is the override.
void set_origin(ConfigNode& node, const std::string& origin) {
  node.origin = origin;
  for (auto& item : node.items) set_origin(item, origin);
  for (auto& entry : node.entries) set_origin(entry.value, origin);
}

// Mappings are merged key by key; any other value replaces what was there, and so does `{}`: it
// clears a section, as `[]` does a list.
void merge(ConfigNode& target, const ConfigNode& value) {
  if (!target.is_map() || !value.is_map() || value.entries.empty()) {
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
  if (root.find("stages") != nullptr) {
    fail_user(
        "{}: is a pipeline of several stages, and one is wanted here; `vmla pipeline "
        "--config {}` runs them all, {} names the file of each",
        path.string(),
        path.string(),
        root.find("stages")->origin);
  }
  if (root.find("base") != nullptr && root.find("seeds") != nullptr) {
    fail_user(
        "{}: is a sweep of many stages, and one is wanted here; `vmla sweep --config {}` runs it",
        path.string(),
        path.string());
  }
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
  const std::vector<YAML::Node> documents = io::parse_yaml_documents(text, name);
  if (documents.size() > 1)
    fail_user("{}: holds {} yaml documents; keep one", name, documents.size());
  ConfigNode root = documents.empty() ? ConfigNode{} : convert(documents[0], name, name);
  root.origin = name;
  return root;
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
  ConfigNode value = parse_yaml(assignment.substr(equals + 1), origin);
  set_origin(value, origin);
  assign(root, assignment.substr(key_begin, equals - key_begin), value);
}

namespace {

// Whether anything at or below `node` was given on the command line.
bool is_by_hand(const ConfigNode& node) {
  if (node.origin.starts_with("--set ")) return true;
  return std::ranges::any_of(node.items, is_by_hand) ||
         std::ranges::any_of(node.entries,
                             [](const ConfigEntry& entry) { return is_by_hand(entry.value); });
}

// A dataset that is named on the command line and is not there would be made as the file says how
// its own is made: most likely the name is mistyped, and other data would be trained on.
void refuse_mistyped(const ConfigNode& root,
                     const std::string& path_key,
                     const std::string& path,
                     const std::string& make_key,
                     const data::MakeConfig& make) {
  if (path.empty() || !make.makes_something() || std::filesystem::exists(path)) return;
  if (!origin_of(root, path_key).starts_with("--set ")) return;
  const ConfigNode* data = root.find("data");
  const ConfigNode* how = data ? data->find(make_key) : nullptr;
  if (how != nullptr && is_by_hand(*how)) return;
  fail_rule(path_key,
            "{} does not exist. Name one that does, or say how to make it in the same command "
            "(--set data.{}.videos=FOLDER, prompts=FILE or synth_count=N)",
            path,
            make_key);
}

}  // namespace

TrainConfig load_config(const ConfigNode& root, Purpose purpose) {
  TrainConfig config;
  with_origins(root, [&] {
    config = read_tree(root, {});
    // 0 stands for the whole batch. The number is stored, so that a run that is resumed with a file
    // that says it outright shows no difference.
    if (config.train.micro_batch_size == 0) config.train.micro_batch_size = config.train.batch_size;
    validate_config(config, purpose);
    const data::DataConfig& d = config.data;
    refuse_mistyped(root, "data.path", d.path, "make", d.make);
    refuse_mistyped(
        root, "data.validation_path", d.validation_path, "make_validation", d.make_validation);
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
