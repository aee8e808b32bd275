#pragma once

#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "model/io/error.h"
#include "trainer/config/config_node.h"
#include "trainer/config/train_config.h"

/// Reads, writes and lists any configuration struct through its visitor `fields`: a new key is one
/// member and one line in its struct, and nothing here. What a member's type decides (a list, a
/// number, a section) is decided while compiling, in to_node and in ConfigReader::read; a new
/// member type is a branch in both.
namespace vmla::trainer {

/// A struct with a visitor `fields(self, v)`, called as v(name, member, help).
template <class T>
concept Visitable =
    requires(T& value) { T::fields(value, [](const char*, auto&, const char*) {}); };

/// A struct with several sections, of which a member `name` chooses one (the objective). The others
/// are neither read nor written nor compared.
template <class T>
concept NamedChoice = Visitable<T> && requires(const T& value) { T::active(value, "name"); };

namespace visit {
template <class T>
struct is_vector : std::false_type {};
template <class T>
struct is_vector<std::vector<T>> : std::true_type {};
template <class T>
struct is_array : std::false_type {};
template <class T, size_t N>
struct is_array<std::array<T, N>> : std::true_type {};
template <class T>
struct is_map : std::false_type {};
template <class T>
struct is_map<std::map<std::string, T>> : std::true_type {};

/// The full key of `name` in the section `key` (empty: at the top).
inline std::string below(const std::string& key, const std::string& name) {
  return key.empty() ? name : key + "." + name;
}
}  // namespace visit

/// Names of a struct's own fields.
template <Visitable T>
std::vector<std::string> field_names() {
  std::vector<std::string> names;
  T value{};
  T::fields(value, [&](const char* name, auto&, const char*) { names.emplace_back(name); });
  return names;
}

/// Names of the choices of a NamedChoice: every field but `name`.
template <NamedChoice T>
std::vector<std::string> choice_names() {
  std::vector<std::string> names = field_names<T>();
  std::erase(names, "name");
  return names;
}

/// The value as a tree, ready to be written as yaml or compared.
template <class T>
ConfigNode to_node(const T& value) {
  ConfigNode node;
  const auto list_of = [&](const auto& items) {
    node.kind = ConfigNode::Kind::kList;
    for (const auto& item : items) node.items.push_back(to_node(item));
    return node;
  };
  if constexpr (std::is_same_v<T, bool>) {
    return scalar_node(value ? "true" : "false", false);
  } else if constexpr (std::is_same_v<T, int64_t>) {
    return scalar_node(std::to_string(value), false);
  } else if constexpr (std::is_same_v<T, double>) {
    return scalar_node(shortest(value), false);
  } else if constexpr (std::is_same_v<T, std::string>) {
    return scalar_node(value, true);
  } else if constexpr (visit::is_vector<T>::value || visit::is_array<T>::value) {
    return list_of(value);
  } else if constexpr (std::is_same_v<T, model::PerLayer>) {
    // One value for all layers is written as it was given, not as a list of one.
    return value.values.size() == 1 ? to_node(value.values[0]) : list_of(value.values);
  } else if constexpr (std::is_same_v<T, model::RopePairs>) {
    if (value.lists.size() == 1) return to_node(value.lists[0]);
    return list_of(value.lists);
  } else if constexpr (std::is_same_v<T, PromptSource>) {
    return value.file.empty() ? to_node(value.list) : to_node(value.file);
  } else if constexpr (visit::is_map<T>::value) {
    node.kind = ConfigNode::Kind::kMap;
    for (const auto& [name, item] : value) node.entries.push_back({name, to_node(item)});
    return node;
  } else {
    static_assert(Visitable<T>, "a configuration member of an unknown type");
    node.kind = ConfigNode::Kind::kMap;
    T::fields(value, [&](const char* name, const auto& member, const char*) {
      if constexpr (NamedChoice<T>) {
        if (!T::active(value, name)) return;
      }
      // All fields of a source are texts of which most are empty.
      if constexpr (std::is_same_v<T, InitSource>) {
        if (member.empty()) return;
      }
      node.entries.push_back({name, to_node(member)});
    });
    return node;
  }
}

/// One line of the reference: full key, default, help.
struct ConfigKey {
  std::string key, value, help;
};

/// Every key of `value` with what it holds there and its help; sections come before their keys,
/// without a value. Of a struct as it is constructed that is the default, also where a section's
/// default is not its type's (the fake score's optimizer).
template <Visitable T>
void list_keys(const std::string& section, const T& value, std::vector<ConfigKey>& out) {
  T::fields(value, [&](const char* name, const auto& member, const char* help) {
    using Member = std::remove_cvref_t<decltype(member)>;
    const std::string key = visit::below(section, name);
    if constexpr (Visitable<Member>) {
      out.push_back({key, "", help});
      list_keys(key, member, out);
    } else {
      out.push_back({key, to_inline_yaml(to_node(member)), help});
    }
  });
}

/// Reads a tree strictly into structs: every key must exist, every value must have the right type.
/// What the tree does not hold keeps the value that the struct had before.
class ConfigReader {
 public:
  /// `all_keys`: full keys of the root struct, for suggestions when a key stands in the wrong
  /// section.
  explicit ConfigReader(std::vector<std::string> all_keys) : all_keys_(std::move(all_keys)) {}

  /// Reads `node`, which stands at the full key `key` (empty: the root), into `out`. UserError with
  /// the place, the key, what was found and what is valid.
  template <class T>
  void read(const ConfigNode& node, const std::string& key, T& out) const {
    if constexpr (std::is_same_v<T, bool>) {
      out = to_bool(node, key);
    } else if constexpr (std::is_same_v<T, int64_t>) {
      out = to_int(node, key);
    } else if constexpr (std::is_same_v<T, double>) {
      out = to_double(node, key);
    } else if constexpr (std::is_same_v<T, std::string>) {
      out = to_text(node, key);
    } else if constexpr (visit::is_vector<T>::value) {
      if (!node.is_list()) fail_type(node, key, "a list");
      out.clear();
      for (const auto& item : node.items) read(item, key, out.emplace_back());
    } else if constexpr (visit::is_array<T>::value) {
      const size_t size = std::tuple_size_v<T>;
      const std::string wanted = formatted("a list of {} numbers", size);
      if (!node.is_list() || node.items.size() != size) fail_type(node, key, wanted);
      for (size_t i = 0; i < size; ++i) read(node.items[i], key, out[i]);
    } else if constexpr (std::is_same_v<T, model::PerLayer>) {
      // A list has an entry for each layer, a number serves all of them; validate_model counts.
      if (node.is_list() && !node.items.empty()) {
        read(node, key, out.values);
      } else {
        out.values = {to_int(node, key)};
      }
    } else if constexpr (std::is_same_v<T, model::RopePairs>) {
      // The first entry says which form it is: one list for all layers, or a list for each.
      if (!node.is_list()) fail_type(node, key, "a list of pair indices, or one list per layer");
      if (!node.items.empty() && node.items[0].is_list()) {
        read(node, key, out.lists);
      } else if (node.items.empty()) {
        out.lists.clear();
      } else {
        out.lists.assign(1, {});
        read(node, key, out.lists[0]);
      }
    } else if constexpr (std::is_same_v<T, PromptSource>) {
      out = {};
      if (node.is_list()) {
        read(node, key, out.list);
      } else if (node.is_scalar()) {
        out.file = node.scalar;
      } else {
        fail_type(node, key, "a list of prompts, or the path of a text file with one a line");
      }
    } else if constexpr (visit::is_map<T>::value) {
      // Entries are added to what is there, so that --set may name one role more.
      if (node.is_null()) return;
      if (!node.is_map()) fail_type(node, key, "a section of role: weights");
      for (const auto& [name, value] : node.entries)
        read(value, visit::below(key, name), out[name]);
    } else {
      read_struct(node, key, out);
    }
  }

 private:
  /// A section: first every key of the file is compared with the struct's fields, so that an
  /// unknown one is found whatever else is wrong; then the fields that the file has are read, in
  /// the struct's order.
  template <Visitable T>
  void read_struct(const ConfigNode& node, const std::string& key, T& out) const {
    if constexpr (std::is_same_v<T, InitSource>) {
      // `generator: runs/a` is short for `generator: {path: runs/a}`.
      out = {};
      if (node.is_scalar()) {
        out.path = node.scalar;
        return;
      }
    }
    // A section whose lines are all comments.
    if (node.is_null()) return;
    if (!node.is_map())
      fail_type(node, key.empty() ? "the file" : key, "a section of `key: value` lines");
    const std::vector<std::string> names = field_names<T>();
    for (const auto& entry : node.entries) {
      if (std::find(names.begin(), names.end(), entry.key) == names.end()) {
        fail_unknown_key(entry, key, names, all_keys_);
      }
    }
    if constexpr (std::is_same_v<T, model::ModelConfig>) {
      // The preset first, wherever it stands: the keys beside it override its sizes.
      const ConfigNode* preset = node.find("preset");
      if (preset != nullptr && !to_text(*preset, key + ".preset").empty()) {
        out = model::model_preset(preset->scalar);
      }
    }
    T::fields(out, [&](const char* name, auto& member, const char*) {
      const ConfigNode* value = node.find(name);
      if (value == nullptr) return;
      if constexpr (NamedChoice<T>) {
        if (!T::active(out, name))
          fail_other_section(*value, visit::below(key, name), key, out.name);
      }
      read(*value, visit::below(key, name), member);
      // `name` is the first field, so a wrong one is reported before the sections that follow it.
      if constexpr (NamedChoice<T>) check_choice(*value, key, name, out.name, choice_names<T>());
    });
  }

  /// UserError where `name` is none of the choices. Called for every field; only `name` is looked
  /// at.
  static void check_choice(const ConfigNode& value,
                           const std::string& section,
                           const std::string& field,
                           const std::string& name,
                           const std::vector<std::string>& valid) {
    if (field != "name" || std::find(valid.begin(), valid.end(), name) != valid.end()) return;
    fail_user("{}: {}.name: '{}' is unknown; valid: {}", value.origin, section, name, join(valid));
  }

  [[noreturn]] static void fail_other_section(const ConfigNode& value,
                                              const std::string& key,
                                              const std::string& section,
                                              const std::string& name) {
    fail_user(
        "{}: {}: this section does not belong here, {}.name is {}; remove it or choose the other "
        "name",
        value.origin,
        key,
        section,
        name);
  }

  std::vector<std::string> all_keys_;  // full keys of the root struct
};

}  // namespace vmla::trainer
