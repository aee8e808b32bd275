#include "trainer/sweep/sweep_file.h"

#include <algorithm>
#include <set>
#include <utility>

#include "model/io/error.h"
#include "model/io/quoted_name.h"
#include "trainer/config/file_keys.h"

namespace vmla::trainer {
namespace {

namespace fs = std::filesystem;

/// The stage or the pipeline that `base` names, or the pipeline that it is.
void read_base(const ConfigNode& root, const fs::path& file, SweepFile& sweep) {
  const ConfigNode& node = required(root, "", "base");
  if (node.is_map()) {
    sweep.base = read_pipeline(node, file);
    return;
  }
  const fs::path path = file.parent_path() / to_text(node, "base");
  if (!fs::is_regular_file(path)) {
    fail_user("{}: base: no file {} (paths are relative to the sweep's file)",
              node.origin,
              path.string());
  }
  ConfigNode base = parse_yaml_file(path);
  if (base.find("stages") != nullptr) {
    sweep.base = read_pipeline_file(path);
    return;
  }
  sweep.is_stage = true;
  const ConfigNode* name = base.find("stage");
  StageFile stage{.name = name != nullptr ? to_text(*name, "stage") : path.stem().string(),
                  .origin = base.origin,
                  .root = std::move(base)};
  check_name(stage.root, "stage", stage.name);
  sweep.base.stages.push_back(std::move(stage));
}

std::vector<std::string> stage_names(const SweepFile& sweep) {
  std::vector<std::string> names;
  for (const StageFile& stage : sweep.base.stages) names.push_back(stage.name);
  return names;
}

/// Fails where a key of a pipeline does not begin with one of its stages, or is one that cells must
/// not set.
void check_setting(const SweepFile& sweep, const SweepSetting& setting, bool in_every_cell) {
  const std::string& key = setting.key;
  const std::string first = key.substr(0, key.find('.'));
  const std::vector<std::string> names = stage_names(sweep);
  if (!sweep.is_stage && (first == key || std::ranges::find(names, first) == names.end())) {
    const std::string near = nearest(first, names);
    fail_user("{}: {}: no stage {}{}; write STAGE.key with one of: {}",
              setting.value.origin,
              key,
              io::quoted_name(first),
              near.empty() ? "" : formatted("; did you mean {}?", near),
              join(names));
  }
  const std::string own = sweep.is_stage ? key : key.substr(first.size() + 1);
  if (own == "stage") fail_user("{}: {}: is the stage's name", setting.value.origin, key);
  if (own == "seed" && !in_every_cell) {
    fail_user("{}: {}: seeds are no axis, for cells are compared at equal seeds; use `seeds`",
              setting.value.origin,
              key);
  }
}

std::vector<int64_t> read_seeds(const ConfigNode& node, const std::string& section) {
  if (!node.is_list() || node.items.empty())
    fail_type(node, section, "a list of integers such as [0, 1, 2]");
  std::vector<int64_t> seeds;
  for (const ConfigNode& item : node.items) {
    const int64_t seed = to_int(item, section);
    if (std::ranges::find(seeds, seed) != seeds.end())
      fail_user("{}: {}: {} is given twice", item.origin, section, seed);
    seeds.push_back(seed);
  }
  return seeds;
}

/// "tf.validation_loss", or without a stage a figure of the last one.
SweepFigure read_figure(const ConfigNode& node,
                        const std::string& section,
                        const SweepFile& sweep) {
  const std::string text = to_text(node, section);
  if (text.empty()) fail_type(node, section, "the name of a figure such as validation_loss");
  const std::vector<std::string> names = stage_names(sweep);
  const std::string first = text.substr(0, text.find('.'));
  if (!sweep.is_stage && first != text && std::ranges::find(names, first) != names.end())
    return {.stage = first, .key = text.substr(first.size() + 1), .text = text};
  return {.stage = names.back(), .key = text, .text = text};
}

void read_metrics(const ConfigNode& root, SweepFile& sweep) {
  const ConfigNode* node = root.find("metrics");
  if (node == nullptr) {
    sweep.metrics = {read_figure(scalar_node("validation_loss", true), "metrics", sweep)};
    return;
  }
  if (!node->is_list() || node->items.empty()) fail_type(*node, "metrics", "a list of figures");
  for (const ConfigNode& item : node->items) {
    const SweepFigure figure = read_figure(item, "metrics", sweep);
    const auto same = [&](const SweepFigure& other) {
      return other.stage == figure.stage && other.key == figure.key;
    };
    if (std::ranges::any_of(sweep.metrics, same))
      fail_user("{}: metrics: {} is given twice", item.origin, figure.text);
    sweep.metrics.push_back(figure);
  }
}

SweepTargets read_targets(const ConfigNode& node, const SweepFile& sweep) {
  SweepTargets targets{
      .curve = read_figure(scalar_node("validation_loss", true), "targets.curve", sweep),
      .values = {}};
  const ConfigNode* values = &node;
  if (node.is_map()) {
    check_keys(node, "targets", {"curve", "values"});
    if (const ConfigNode* curve = node.find("curve"))
      targets.curve = read_figure(*curve, "targets.curve", sweep);
    values = &required(node, "targets.", "values");
  }
  if (!values->is_list() || values->items.empty())
    fail_type(*values, "targets", "a list of numbers, or a section with curve and values");
  for (const ConfigNode& item : values->items) {
    const double value = to_double(item, "targets");
    if (std::ranges::find(targets.values, value) != targets.values.end())
      fail_user("{}: targets: {} is given twice", item.origin, item.scalar);
    targets.values.push_back(value);
  }
  return targets;
}

/// The grid without what `exclude` names, then the cells that are listed by themselves.
void read_cells(const ConfigNode& root, SweepFile& sweep) {
  if (const ConfigNode* grid = root.find("grid")) sweep.axes = read_axes(*grid);
  sweep.cells = grid_cells(sweep.axes);
  if (const ConfigNode* exclude = root.find("exclude")) {
    if (!exclude->is_list()) fail_type(*exclude, "exclude", "a list of {axis: value}");
    for (const ConfigNode& item : exclude->items) {
      const AxisPlace place = read_place(item, "exclude", sweep.axes);
      if (std::erase_if(sweep.cells, [&](const SweepCell& c) { return lies_at(c, place); }) == 0)
        fail_user("{}: exclude: no cell is left there", item.origin);
    }
  }
  if (const ConfigNode* cells = root.find("cells")) {
    if (!cells->is_list()) fail_type(*cells, "cells", "a list of {name, set}");
    for (const ConfigNode& item : cells->items) {
      if (!item.is_map()) fail_type(item, "cells", "a section with name and set");
      check_keys(item, "cells", {"name", "set"});
      const ConfigNode& name = required(item, "cells.", "name");
      SweepCell cell{
          .name = to_text(name, "cells.name"), .labels = {}, .settings = {}, .origin = item.origin};
      check_name(name, "cells.name", cell.name);
      if (const ConfigNode* set = item.find("set"))
        cell.settings = read_settings(*set, "cells.set");
      if (std::ranges::find(sweep.cells, cell.name, &SweepCell::name) != sweep.cells.end())
        fail_user("{}: cells: {} is given twice", item.origin, cell.name);
      sweep.cells.push_back(std::move(cell));
    }
  }
  if (sweep.cells.empty() && sweep.axes.empty()) {
    sweep.cells.push_back({.name = "base", .labels = {}, .settings = {}, .origin = root.origin});
  }
  if (sweep.cells.empty()) fail_user("{}: no cell is left to run", root.origin);
  for (const SweepCell& cell : sweep.cells) {
    for (const SweepSetting& setting : cell.settings) check_setting(sweep, setting, false);
  }
}

/// Where the runs of `tune` lie on the axes: every axis is in `per` or in `at`.
void read_tune_place(const ConfigNode& node, const SweepFile& sweep, SweepTune& tune) {
  if (const ConfigNode* at = node.find("at")) tune.at = read_place(*at, "tune.at", sweep.axes);
  const ConfigNode* per = node.find("per");
  if (per != nullptr) {
    if (!per->is_list()) fail_type(*per, "tune.per", "a list of axes");
    for (const ConfigNode& item : per->items)
      tune.per.push_back(find_axis(item, "tune.per", to_text(item, "tune.per"), sweep.axes));
  }
  for (size_t i = 0; i < sweep.axes.size(); ++i) {
    const bool in_per = std::ranges::find(tune.per, i) != tune.per.end();
    const auto at = tune.at.find(i);
    if (at != tune.at.end() && at->second.size() != 1)
      fail_user("{}: tune.at: give one value of {}", node.origin, sweep.axes[i].name);
    if (per == nullptr && at == tune.at.end()) {
      tune.per.push_back(i);
    } else if (in_per == (at != tune.at.end())) {
      fail_user(
          "{}: tune: {} must be in `per` (each value gets its own choice) or in `at` (where the "
          "choice is made for all)",
          node.origin,
          sweep.axes[i].name);
    }
  }
}

SweepTune read_tune(const ConfigNode& node, const SweepFile& sweep) {
  if (!node.is_map()) fail_type(node, "tune", "a section with key, values and seeds");
  check_keys(
      node, "tune", {"key", "keys", "values", "seeds", "per", "at", "set", "metric", "goal"});
  SweepTune tune;
  const ConfigNode* keys = node.find("keys");
  const std::string key = keys != nullptr && keys->is_list() && !keys->items.empty()
                              ? to_text(keys->items[0], "tune.keys")
                              : to_text(required(node, "tune.", "key"), "tune.key");
  ConfigNode axis = node;
  std::erase_if(axis.entries, [](const auto& e) { return e.key != "keys" && e.key != "values"; });
  tune.axis = read_axis(key, axis, "tune");
  tune.axis.name = key.substr(key.rfind('.') + 1);
  for (const AxisValue& value : tune.axis.values) {
    for (const SweepSetting& setting : value.settings) check_setting(sweep, setting, false);
  }
  if (tune.axis.values.size() < 2)
    fail_user("{}: tune.values: one value leaves nothing to choose", node.origin);
  tune.seeds = read_seeds(required(node, "tune.", "seeds"), "tune.seeds");
  for (const int64_t seed : tune.seeds) {
    if (std::ranges::find(sweep.seeds, seed) == sweep.seeds.end()) continue;
    fail_user(
        "{}: tune.seeds: {} is among `seeds` too; choose on other seeds than those that are "
        "compared",
        node.origin,
        seed);
  }
  read_tune_place(node, sweep, tune);
  if (const ConfigNode* set = node.find("set")) tune.set = read_settings(*set, "tune.set");
  for (const SweepSetting& setting : tune.set) check_setting(sweep, setting, false);
  const ConfigNode* metric = node.find("metric");
  tune.metric =
      metric != nullptr ? read_figure(*metric, "tune.metric", sweep) : sweep.metrics.front();
  if (const ConfigNode* goal = node.find("goal")) {
    const std::string text = to_text(*goal, "tune.goal");
    if (text != "min" && text != "max") fail_type(*goal, "tune.goal", "min or max");
    tune.largest = text == "max";
  }
  return tune;
}

SweepBaseline read_baseline(const ConfigNode& node, const SweepFile& sweep) {
  SweepBaseline baseline;
  if (node.is_map()) {
    baseline.place = read_place(node, "baseline", sweep.axes);
    for (const auto& [axis, labels] : baseline.place) {
      if (labels.size() != 1)
        fail_user("{}: baseline: give one value of {}", node.origin, sweep.axes[axis].name);
    }
    return baseline;
  }
  baseline.cell = to_text(node, "baseline");
  std::vector<std::string> names;
  for (const SweepCell& cell : sweep.cells) names.push_back(cell.name);
  if (std::ranges::find(names, baseline.cell) == names.end()) {
    fail_user("{}: baseline: no cell {}; valid: {}",
              node.origin,
              io::quoted_name(baseline.cell),
              join(names));
  }
  return baseline;
}

}  // namespace

SweepFile read_sweep_file(const fs::path& path, const std::vector<std::string>& overrides) {
  const ConfigNode root = parse_yaml_file(path);
  if (!root.is_map()) fail_type(root, "the file", "a sweep: base, grid, seeds");
  check_keys(root,
             "",
             {"name",
              "base",
              "set",
              "grid",
              "cells",
              "exclude",
              "seeds",
              "tune",
              "metrics",
              "targets",
              "baseline",
              "jobs"});
  SweepFile sweep;
  sweep.name = path.stem().string();
  if (const ConfigNode* name = root.find("name")) {
    sweep.name = to_text(*name, "name");
    check_name(*name, "name", sweep.name);
  }
  read_base(root, path, sweep);
  if (const ConfigNode* jobs = root.find("jobs")) {
    sweep.jobs = to_int(*jobs, "jobs");
    if (sweep.jobs < 1)
      fail_user("{}: jobs: {} is too small; use at least 1", jobs->origin, sweep.jobs);
  }
  if (const ConfigNode* set = root.find("set")) sweep.set = read_settings(*set, "set");
  for (const std::string& assignment : overrides) {
    const std::string key = assignment.substr(0, assignment.find('='));
    ConfigNode whole;
    apply_override(whole, assignment);  // "a.b=c" as a tree; only what stands at a.b is wanted
    const ConfigNode* value = &whole;
    for (size_t begin = 0; value != nullptr && begin <= key.size();) {
      const size_t end = std::min(key.find('.', begin), key.size());
      value = value->find(key.substr(begin, end - begin));
      begin = end + 1;
    }
    sweep.set.push_back({key, *value});
  }
  for (const SweepSetting& setting : sweep.set) check_setting(sweep, setting, true);
  sweep.seeds = read_seeds(required(root, "", "seeds"), "seeds");
  read_cells(root, sweep);
  read_metrics(root, sweep);
  if (const ConfigNode* targets = root.find("targets"))
    sweep.targets = read_targets(*targets, sweep);
  if (const ConfigNode* tune = root.find("tune")) sweep.tune = read_tune(*tune, sweep);
  if (const ConfigNode* node = root.find("baseline")) sweep.baseline = read_baseline(*node, sweep);
  return sweep;
}

std::optional<size_t> baseline_of(const SweepFile& file, size_t cell) {
  if (!file.baseline) return std::nullopt;
  const SweepBaseline& baseline = *file.baseline;
  const bool one_cell = !baseline.cell.empty() || baseline.place.size() == file.axes.size();
  for (size_t i = 0; i < file.cells.size(); ++i) {
    const SweepCell& other = file.cells[i];
    bool found =
        baseline.cell.empty() ? lies_at(other, baseline.place) : other.name == baseline.cell;
    const std::vector<std::string>& labels = file.cells[cell].labels;
    if (!one_cell && labels.empty()) return std::nullopt;
    for (size_t axis = 0; found && !one_cell && axis < file.axes.size(); ++axis)
      found = baseline.place.contains(axis) || other.labels[axis] == labels[axis];
    if (found) return i == cell ? std::nullopt : std::optional(i);
  }
  return std::nullopt;
}

}  // namespace vmla::trainer
