#include "trainer/sweep/sweep_tuning.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "model/io/format.h"

namespace vmla::trainer {
namespace {

/// The group that the cell belongs to, without its members.
TuneGroup group_of(const SweepFile& file, const SweepCell& cell) {
  if (cell.labels.empty()) return {.name = cell.name, .cells = {}, .place = cell};
  std::vector<std::string> labels = cell.labels;
  std::string name;
  for (size_t axis = 0; axis < labels.size(); ++axis) {
    const auto at = file.tune->at.find(axis);
    if (at != file.tune->at.end()) {
      labels[axis] = at->second.front();
    } else {
      name += formatted("{}{}={}", name.empty() ? "" : ",", file.axes[axis].name, labels[axis]);
    }
  }
  return {.name = name.empty() ? "all" : name, .cells = {}, .place = cell_at(file.axes, labels)};
}

void add(SweepCell& cell, const std::vector<SweepSetting>& settings) {
  cell.settings.insert(cell.settings.end(), settings.begin(), settings.end());
}

}  // namespace

std::vector<TuneGroup> tune_groups(const SweepFile& file) {
  std::vector<TuneGroup> groups;
  for (size_t i = 0; i < file.cells.size(); ++i) {
    TuneGroup group = group_of(file, file.cells[i]);
    auto known = std::ranges::find(groups, group.name, &TuneGroup::name);
    if (known == groups.end()) known = groups.insert(groups.end(), std::move(group));
    known->cells.push_back(i);
  }
  return groups;
}

std::vector<SweepCell> tune_cells(const SweepFile& file, const std::vector<TuneGroup>& groups) {
  std::vector<SweepCell> cells;
  for (const TuneGroup& group : groups) {
    for (const AxisValue& value : file.tune->axis.values) {
      SweepCell cell = group.place;
      cell.name = formatted("{},{}={}", group.name, file.tune->axis.name, value.label);
      cell.origin = file.tune->axis.origin;
      add(cell, file.tune->set);
      add(cell, value.settings);
      cells.push_back(std::move(cell));
    }
  }
  return cells;
}

std::vector<SweepCell> tuned_cells(const SweepFile& file,
                                   const std::vector<TuneGroup>& groups,
                                   const std::vector<std::optional<size_t>>& chosen) {
  std::vector<SweepCell> cells = file.cells;
  for (size_t g = 0; g < groups.size(); ++g) {
    for (const size_t cell : groups[g].cells)
      add(cells[cell], file.tune->axis.values[chosen[g].value_or(0)].settings);
  }
  return cells;
}

std::optional<size_t> best_value(const std::vector<std::vector<double>>& figures, bool largest) {
  std::optional<size_t> best;
  double best_sum = 0;
  for (size_t i = 0; i < figures.size(); ++i) {
    const double sum = std::accumulate(figures[i].begin(), figures[i].end(), 0.0);
    if (!std::isfinite(sum)) continue;
    if (best && (largest ? sum <= best_sum : sum >= best_sum)) continue;
    best = i;
    best_sum = sum;
  }
  return best;
}

}  // namespace vmla::trainer
