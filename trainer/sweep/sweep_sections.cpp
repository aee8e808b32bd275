#include "trainer/sweep/sweep_sections.h"

#include <algorithm>

#include "model/io/error.h"
#include "model/io/quoted_name.h"
#include "trainer/config/file_keys.h"

namespace vmla::trainer {
namespace {

std::vector<std::string> stage_names(const SweepFile& sweep) {
  std::vector<std::string> names;
  for (const StageFile& stage : sweep.base.stages) names.push_back(stage.name);
  return names;
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

}  // namespace

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
  std::vector<int64_t> seeds;
  for (const ConfigNode& item : list_items(node, section, "a list of integers such as [0, 1, 2]")) {
    const int64_t seed = to_int(item, section);
    if (std::ranges::find(seeds, seed) != seeds.end())
      fail_user("{}: {}: {} is given twice", item.origin, section, seed);
    seeds.push_back(seed);
  }
  return seeds;
}

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

}  // namespace vmla::trainer
