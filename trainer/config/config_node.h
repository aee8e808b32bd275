#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

/// A parsed yaml value that remembers where it came from, and the scalar conversions that name the
/// place when they fail. The reader, the writer and the comparison all work on this tree.
namespace vmla::trainer {

struct ConfigEntry;

struct ConfigNode {
  enum class Kind { kNull, kScalar, kList, kMap };
  Kind kind = Kind::kNull;
  std::string scalar;
  bool quoted = false;  // "12" is text, 12 is a number
  std::vector<ConfigNode> items;
  std::vector<ConfigEntry> entries;
  std::string origin;  // "configs/x.yaml:12" or "--set a.b=c"

  bool is_null() const { return kind == Kind::kNull; }
  bool is_scalar() const { return kind == Kind::kScalar; }
  bool is_list() const { return kind == Kind::kList; }
  bool is_map() const { return kind == Kind::kMap; }
  /// The value of `key`, or null. Only mappings have any.
  const ConfigNode* find(std::string_view key) const;
  ConfigNode* find(std::string_view key);
};

struct ConfigEntry {
  std::string key;
  ConfigNode value;
};

ConfigNode scalar_node(std::string text, bool quoted);

/// Parses one yaml document; origins are `name:line`. UserError on syntax, duplicate keys, several
/// documents.
ConfigNode parse_yaml(const std::string& text, const std::string& name);
ConfigNode parse_yaml_file(const std::filesystem::path& path);

/// Applies one `a.b=c` (c in yaml syntax); everything it sets has the origin `--set a.b=c`. The key
/// starts at `key_begin`: what stands before it (the stage, in a pipeline) belongs to the origin
/// only.
void apply_override(ConfigNode& root, const std::string& assignment, size_t key_begin = 0);

/// Sets the dotted `key` to `value`; a mapping is merged into a mapping, anything else replaces.
void assign(ConfigNode& root, const std::string& key, const ConfigNode& value);

/// Writes the tree as block yaml, lists of scalars inline, strings quoted where yaml needs it.
std::string to_yaml(const ConfigNode& root);
/// One value on one line.
std::string to_inline_yaml(const ConfigNode& node);

/// Where the value of the full key `a.b` came from: its own origin, or that of the nearest section
/// around it.
std::string origin_of(const ConfigNode& root, const std::string& key);

/// Scalar conversions. `key` is the full key; UserError `origin: key: found; valid: ...`.
int64_t to_int(const ConfigNode& node, const std::string& key);
double to_double(const ConfigNode& node, const std::string& key);
bool to_bool(const ConfigNode& node, const std::string& key);
std::string to_text(const ConfigNode& node, const std::string& key);

/// The shortest decimal that reads back as the same double.
std::string shortest(double value);

/// `origin: key: <what was found> is not <wanted>`.
[[noreturn]] void fail_type(const ConfigNode& node,
                            const std::string& key,
                            const std::string& wanted);

/// Unknown key below `section` (empty at the top): says the nearest of `valid`, or of `all_keys` by
/// its last component, and lists what is valid.
[[noreturn]] void fail_unknown_key(const ConfigEntry& entry,
                                   const std::string& section,
                                   const std::vector<std::string>& valid,
                                   const std::vector<std::string>& all_keys);

/// The nearest of `candidates` by edit distance, or "" when none is near.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

/// "a, b, c"
std::string join(const std::vector<std::string>& words);

}  // namespace vmla::trainer
