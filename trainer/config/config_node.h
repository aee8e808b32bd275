#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

/// A parsed yaml value that remembers where it came from, and the conversions of scalars that name
/// the place when they fail. Files and --set become one tree, which is then read into the structs
/// of train_config.h; the writer and the comparison of two configurations go the other way through
/// the same tree.
namespace vmla::trainer {

struct ConfigEntry;

struct ConfigNode {
  enum class Kind { kNull, kScalar, kList, kMap };
  Kind kind = Kind::kNull;
  /// The text of a scalar as it stands in the file; it becomes a number where a number is wanted.
  std::string scalar;
  /// Whether it stood in quotes: "12" is text, 12 may be a number.
  bool quoted = false;
  /// Of a list.
  std::vector<ConfigNode> items;
  /// Of a mapping, in file order, each key once.
  std::vector<ConfigEntry> entries;
  /// Where it was written, for messages: "configs/x.yaml:12" or "--set a.b=c".
  std::string origin;

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

/// A scalar that no file holds; `quoted` where it is text.
ConfigNode scalar_node(std::string text, bool quoted);

/// Parses one yaml document; origins are `name:line`. UserError on syntax, duplicate keys, several
/// documents.
ConfigNode parse_yaml(const std::string& text, const std::string& name);
ConfigNode parse_yaml_file(const std::filesystem::path& path);

/// Applies one `a.b=c` (c in yaml syntax); everything that it sets has the origin `--set a.b=c`.
/// The key starts at `key_begin`: in a pipeline the assignment begins with the stage's name, which
/// messages shall show and which is no part of the key.
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

/// UserError for an unknown key below `section` (empty at the top). Suggests the nearest of
/// `valid`, else the key of another section that ends in the same word (`all_keys` are full keys),
/// and lists what is valid here.
[[noreturn]] void fail_unknown_key(const ConfigEntry& entry,
                                   const std::string& section,
                                   const std::vector<std::string>& valid,
                                   const std::vector<std::string>& all_keys);

/// The nearest of `candidates` by edit distance, or "" when none is near.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

/// "a, b, c"
std::string join(const std::vector<std::string>& words);

}  // namespace vmla::trainer
