#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "trainer/config/config_node.h"

/// The grid of a sweep: axes of values, and the cells that they span (docs/formats.md "Sweep").
namespace vmla::trainer {

/// A key of a stage (of a pipeline: STAGE.key) and its value, with its place in the sweep's file.
struct SweepSetting {
  std::string key;
  ConfigNode value;
};

/// A value of an axis: how tables call it, and the keys that it sets.
struct AxisValue {
  std::string label;
  std::vector<SweepSetting> settings;
};

struct SweepAxis {
  std::string key;   // as the file has it
  std::string name;  // as tables and folders have it: the last words of the key that tell it apart
  std::vector<AxisValue> values;
  std::string origin;
};

/// A combination of values. `labels` are those of the axes, in their order; empty for a cell that
/// the file lists by itself.
struct SweepCell {
  std::string name;
  std::vector<std::string> labels;
  std::vector<SweepSetting> settings;
  std::string origin;
};

/// Labels by the index of an axis: the cells that lie there. Of an axis that is not named, all.
using AxisPlace = std::map<size_t, std::vector<std::string>>;

/// Reads the section `grid`: AXIS: [values], AXIS: {keys: [...], values: [...]}, or AXIS: {values:
/// {LABEL: {key: value}}}. UserError: no values, values given twice.
std::vector<SweepAxis> read_axes(const ConfigNode& grid);

/// The settings of a mapping of keys to values. `section` names it in messages.
std::vector<SweepSetting> read_settings(const ConfigNode& node, const std::string& section);

/// The most cells of a sweep, and the most runs: far more than anyone waits for, and few enough
/// that a slip of the file is answered at once.
inline constexpr size_t kMostRuns = 2000;

/// The items of a list with at least one and at most kMostRuns. `wanted` says what they are.
const std::vector<ConfigNode>& list_items(const ConfigNode& node,
                                          const std::string& section,
                                          const std::string& wanted);

/// One axis, which stands at the key `section` of the file; its name is its key.
SweepAxis read_axis(const std::string& key, const ConfigNode& node, const std::string& section);

/// Reads {AXIS: value or [values]}, axes by key or name. UserError for what is no axis or no value
/// of it.
AxisPlace read_place(const ConfigNode& node,
                     const std::string& section,
                     const std::vector<SweepAxis>& axes);

/// The index of the axis of that key or name. UserError.
size_t find_axis(const ConfigNode& node,
                 const std::string& section,
                 const std::string& key,
                 const std::vector<SweepAxis>& axes);

bool lies_at(const SweepCell& cell, const AxisPlace& place);

/// All combinations, the last axis fastest. Without an axis, none.
std::vector<SweepCell> grid_cells(const std::vector<SweepAxis>& axes);

/// The cell with these labels, one an axis: name and settings.
SweepCell cell_at(const std::vector<SweepAxis>& axes, const std::vector<std::string>& labels);

/// `text` as a part of a folder's name: letters, digits and "_.+=,-", no longer than 120
/// characters. What does not fit is replaced, and a hash of the whole keeps names apart.
std::string folder_name(const std::string& text);

}  // namespace vmla::trainer
