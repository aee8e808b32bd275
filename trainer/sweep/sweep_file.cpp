#include "trainer/sweep/sweep_file.h"

#include <algorithm>
#include <set>
#include <utility>

#include "model/io/error.h"
#include "model/io/quoted_name.h"
#include "trainer/config/file_keys.h"
#include "trainer/sweep/sweep_sections.h"

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
  std::error_code unreadable;  // such as a name longer than file systems take
  if (!fs::is_regular_file(path, unreadable)) {
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

void read_metrics(const ConfigNode& root, SweepFile& sweep) {
  const ConfigNode* node = root.find("metrics");
  if (node == nullptr) {
    sweep.metrics = {read_figure(scalar_node("validation_loss", true), "metrics", sweep)};
    return;
  }
  for (const ConfigNode& item : list_items(*node, "metrics", "a list of figures")) {
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
  for (const ConfigNode& item :
       list_items(*values, "targets", "a list of numbers, or a section with curve and values")) {
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
    for (const ConfigNode& item : list_items(*exclude, "exclude", "a list of {axis: value}")) {
      const AxisPlace place = read_place(item, "exclude", sweep.axes);
      if (std::erase_if(sweep.cells, [&](const SweepCell& c) { return lies_at(c, place); }) == 0)
        fail_user("{}: exclude: no cell is left there", item.origin);
    }
  }
  if (const ConfigNode* cells = root.find("cells")) {
    for (const ConfigNode& item : list_items(*cells, "cells", "a list of {name, set}")) {
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
  if (sweep.cells.size() * sweep.seeds.size() > kMostRuns) {
    fail_user("{}: {} cells and {} seeds are more than {} runs; split the sweep",
              root.origin,
              sweep.cells.size(),
              sweep.seeds.size(),
              kMostRuns);
  }
  for (const SweepCell& cell : sweep.cells) {
    for (const SweepSetting& setting : cell.settings) check_setting(sweep, setting, false);
  }
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
  if (root.find("base") == nullptr && (root.find("stages") || root.find("objective"))) {
    const char* command = root.find("stages") ? "pipeline" : "train";
    fail_user(
        "{}: is no sweep but what one can have as its `base`; by itself: `vmla {} --config {}`",
        path.string(),
        command,
        path.string());
  }
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
              "jobs",
              "stages_dir"});
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
  if (const ConfigNode* dir = root.find("stages_dir")) {
    sweep.stages_dir = to_text(*dir, "stages_dir");
    if (sweep.stages_dir.empty())
      fail_user("{}: stages_dir: is empty; name a folder, or leave the key out", dir->origin);
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
