#include "trainer/sweep/sweep_grid.h"

#include <algorithm>
#include <cctype>

#include "model/io/error.h"
#include "model/io/quoted_name.h"
#include "model/io/sha256.h"
#include "trainer/config/file_keys.h"

namespace vmla::trainer {
namespace {

/// A value as tables show it: yaml on one line, without the quotes of a text.
std::string label_of(const ConfigNode& node) {
  return node.is_scalar() && !node.scalar.empty() ? node.scalar : to_inline_yaml(node);
}

/// An axis whose values set each of `keys`.
void add_plain_values(SweepAxis& axis,
                      const std::vector<std::string>& keys,
                      const ConfigNode& values,
                      const std::string& section) {
  for (const ConfigNode& value : list_items(values, section, "a list of values")) {
    AxisValue& added = axis.values.emplace_back(AxisValue{label_of(value), {}});
    for (const std::string& key : keys) added.settings.push_back({key, value});
  }
}

std::vector<std::string> read_keys(const ConfigNode& node, const std::string& section) {
  std::vector<std::string> keys;
  for (const ConfigNode& item : list_items(node, section, "a list of keys"))
    keys.push_back(to_text(item, section));
  return keys;
}

void refuse_repeated(const SweepAxis& axis, const std::string& section) {
  for (size_t i = 0; i < axis.values.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (axis.values[i].label != axis.values[j].label) continue;
      fail_user("{}: {}: {} is given twice; its cells would be the same run",
                axis.origin,
                section,
                axis.values[i].label);
    }
  }
}

/// Names each axis by as few of its key's last words as tell it from the others.
void name_axes(std::vector<SweepAxis>& axes) {
  const auto last_words = [](const std::string& key, int words) {
    size_t begin = key.size();
    for (; words > 0 && begin != std::string::npos; --words)
      begin = begin == 0 ? std::string::npos : key.rfind('.', begin - 1);
    return begin == std::string::npos ? key : key.substr(begin + 1);
  };
  for (SweepAxis& axis : axes) {
    for (int words = 1;; ++words) {
      axis.name = last_words(axis.key, words);
      const auto same = std::ranges::count_if(
          axes, [&](const SweepAxis& other) { return last_words(other.key, words) == axis.name; });
      if (same == 1 || axis.name == axis.key) break;
    }
  }
}

}  // namespace

const std::vector<ConfigNode>& list_items(const ConfigNode& node,
                                          const std::string& section,
                                          const std::string& wanted) {
  if (!node.is_list()) fail_type(node, section, wanted);
  if (node.items.empty()) fail_user("{}: {}: the list is empty", node.origin, section);
  if (node.items.size() > kMostRuns) {
    fail_user("{}: {}: has {} entries; use at most {}",
              node.origin,
              section,
              node.items.size(),
              kMostRuns);
  }
  return node.items;
}

std::vector<SweepSetting> read_settings(const ConfigNode& node, const std::string& section) {
  if (node.is_null()) return {};
  if (!node.is_map()) fail_type(node, section, "a section of `key: value` lines");
  std::vector<SweepSetting> settings;
  for (const auto& [key, value] : node.entries) {
    // `tf: {train.steps: 9}` is `tf.train.steps: 9`.
    const bool is_section = value.is_map() && key.find('.') == std::string::npos;
    if (!is_section) settings.push_back({key, value});
    for (size_t i = 0; is_section && i < value.entries.size(); ++i)
      settings.push_back({key + "." + value.entries[i].key, value.entries[i].value});
  }
  return settings;
}

SweepAxis read_axis(const std::string& key, const ConfigNode& node, const std::string& section) {
  SweepAxis axis{.key = key, .name = key, .values = {}, .origin = node.origin};
  if (node.is_list()) {
    add_plain_values(axis, {key}, node, section);
  } else if (node.is_map()) {
    check_keys(node, section, {"keys", "values"});
    const ConfigNode& values = required(node, section + ".", "values");
    const ConfigNode* keys = node.find("keys");
    if (values.is_list()) {
      add_plain_values(
          axis,
          keys != nullptr ? read_keys(*keys, section + ".keys") : std::vector<std::string>{key},
          values,
          section + ".values");
    } else if (values.is_map() && keys == nullptr) {
      if (values.entries.size() > kMostRuns)
        fail_user("{}: {}: has too many values", node.origin, section);
      for (const auto& [label, set] : values.entries)
        axis.values.push_back({label, read_settings(set, section + ".values." + label)});
    } else {
      fail_type(
          values, section + ".values", "a list, or without `keys` a section LABEL: {key: value}");
    }
  } else {
    fail_type(node, section, "a list of values, or a section with keys and values");
  }
  if (axis.values.empty()) fail_user("{}: {}: has no values", node.origin, section);
  refuse_repeated(axis, section);
  return axis;
}

std::vector<SweepAxis> read_axes(const ConfigNode& grid) {
  if (grid.is_null()) return {};
  if (!grid.is_map()) fail_type(grid, "grid", "a section of `key: [values]` lines");
  constexpr size_t kMostAxes = 20;
  if (grid.entries.size() > kMostAxes)
    fail_user("{}: grid: has {} axes; use at most {}", grid.origin, grid.entries.size(), kMostAxes);
  std::vector<SweepAxis> axes;
  size_t cells = 1;
  for (const auto& [key, node] : grid.entries) {
    axes.push_back(read_axis(key, node, "grid." + key));
    cells *= axes.back().values.size();
    if (cells > kMostRuns) {
      fail_user(
          "{}: grid: has more than {} cells; split it into several sweeps", grid.origin, kMostRuns);
    }
  }
  name_axes(axes);
  return axes;
}

size_t find_axis(const ConfigNode& node,
                 const std::string& section,
                 const std::string& key,
                 const std::vector<SweepAxis>& axes) {
  std::vector<std::string> names;
  for (size_t i = 0; i < axes.size(); ++i) {
    if (axes[i].key == key || axes[i].name == key) return i;
    names.push_back(axes[i].name);
  }
  fail_user("{}: {}: {} is no axis of the grid; valid: {}",
            node.origin,
            section,
            io::quoted_name(key),
            names.empty() ? "none, there is no grid" : join(names));
}

AxisPlace read_place(const ConfigNode& node,
                     const std::string& section,
                     const std::vector<SweepAxis>& axes) {
  if (!node.is_map() || node.entries.empty())
    fail_type(node, section, "a section of `axis: value` lines");
  AxisPlace place;
  for (const ConfigEntry& entry : node.entries) {
    const std::string& key = entry.key;
    const ConfigNode& value = entry.value;
    const size_t index = find_axis(value, section, key, axes);
    // A list is several values, unless it is one itself.
    const bool several = value.is_list() && std::ranges::none_of(axes[index].values, [&](auto& v) {
                           return v.label == label_of(value);
                         });
    const std::vector<ConfigNode> wanted = several ? value.items : std::vector<ConfigNode>{value};
    for (const ConfigNode& one : wanted) {
      std::vector<std::string> labels;
      for (const AxisValue& known : axes[index].values) labels.push_back(known.label);
      if (std::ranges::find(labels, label_of(one)) == labels.end()) {
        fail_user("{}: {}.{}: {} is no value of the axis; valid: {}",
                  value.origin,
                  section,
                  key,
                  label_of(one),
                  join(labels));
      }
      place[index].push_back(label_of(one));
    }
  }
  return place;
}

bool lies_at(const SweepCell& cell, const AxisPlace& place) {
  return std::ranges::all_of(place, [&](const auto& entry) {
    const auto& [axis, labels] = entry;
    return axis < cell.labels.size() &&
           std::ranges::find(labels, cell.labels[axis]) != labels.end();
  });
}

SweepCell cell_at(const std::vector<SweepAxis>& axes, const std::vector<std::string>& labels) {
  SweepCell cell{.name = "", .labels = labels, .settings = {}, .origin = ""};
  for (size_t i = 0; i < axes.size(); ++i) {
    const AxisValue& value = *std::ranges::find(axes[i].values, labels[i], &AxisValue::label);
    cell.name += formatted("{}{}={}", i == 0 ? "" : ",", axes[i].name, value.label);
    cell.settings.insert(cell.settings.end(), value.settings.begin(), value.settings.end());
    cell.origin = axes[i].origin;
  }
  return cell;
}

std::vector<SweepCell> grid_cells(const std::vector<SweepAxis>& axes) {
  std::vector<SweepCell> cells;
  if (axes.empty()) return cells;
  std::vector<size_t> at(axes.size(), 0);
  while (true) {
    std::vector<std::string> labels;
    for (size_t i = 0; i < axes.size(); ++i) labels.push_back(axes[i].values[at[i]].label);
    cells.push_back(cell_at(axes, labels));
    size_t axis = axes.size();
    while (axis > 0 && ++at[axis - 1] == axes[axis - 1].values.size()) at[--axis] = 0;
    if (axis == 0) return cells;
  }
}

std::string folder_name(const std::string& text) {
  constexpr size_t kLongest = 120, kHashDigits = 8;
  std::string name;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain =
        std::isalnum(byte) || std::string_view("_.+=,-").find(c) != std::string_view::npos;
    name += plain ? c : '_';
  }
  if (name == text && name.size() <= kLongest) return name;
  return name.substr(0, kLongest - kHashDigits - 1) + "-" +
         io::sha256_hex(text.data(), text.size()).substr(0, kHashDigits);
}

}  // namespace vmla::trainer
