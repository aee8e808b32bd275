#include "analysis/runs/run_reading.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "analysis/runs/flat_yaml.h"
#include "analysis/runs/newest_samples.h"
#include "analysis/runs/readable_text.h"
#include "model/io/error.h"
#include "model/io/json_text.h"

namespace vmla::analysis {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

void read_metrics(RunContents& run) {
  const auto text = readable_text(run.folder / "metrics.jsonl");
  if (!text) {
    run.problems.push_back("metrics.jsonl is missing: no losses to show.");
    return;
  }
  int64_t damaged = 0, number = 0;
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    ++number;
    const Json object = io::parse_json_or_discard<Json>(line);
    if (!object.is_object() || !object.contains("step") || !object["step"].is_number()) {
      if (++damaged == 1) run.first_damaged_line = number;
      continue;
    }
    const double step = object["step"].get<double>();
    for (const auto& [key, value] : object.items()) {
      if (!value.is_number() || key == "step") continue;
      MetricSeries& series = run.metrics[key];
      series.steps.push_back(step);
      series.values.push_back(value.get<double>());
    }
  }
  if (damaged > 0)
    run.problems.push_back(formatted("metrics.jsonl has {} damaged lines.", damaged));
}

void flatten(const Json& value, const std::string& key, RunContents& run) {
  if (value.is_number()) {
    run.summary[key] = value.get<double>();
  } else if (value.is_boolean()) {
    run.summary[key] = value.get<bool>() ? 1 : 0;
  } else if (value.is_array()) {
    std::vector<double>& list = run.summary_lists[key];
    for (const Json& inner : value) list.push_back(inner.is_number() ? inner.get<double>() : NAN);
  } else if (value.is_object()) {
    for (const auto& [name, inner] : value.items()) {
      flatten(inner, key.empty() ? name : key + "." + name, run);
    }
  }
}

void read_summary(RunContents& run) {
  const auto text = readable_text(run.folder / "summary.json");
  if (!text) {
    run.problems.push_back(
        "summary.json is missing: the stage has not ended, so nothing was measured on its "
        "samples.");
    return;
  }
  Json summary;
  try {
    summary = io::parse_json<Json>(*text, "summary.json");
  } catch (const UserError& error) {
    run.problems.push_back(error.what());
    return;
  }
  if (!summary.is_object()) run.problems.push_back("summary.json is damaged.");
  flatten(summary, "", run);
}

void read_config(RunContents& run) {
  const auto text = readable_text(run.folder / "config.yaml");
  if (!text) {
    run.problems.push_back("config.yaml is missing.");
    return;
  }
  run.config_text = *text;
  try {
    run.config = flat_yaml(*text, "config.yaml");
  } catch (const UserError& error) {
    run.problems.push_back(formatted("config.yaml cannot be read: {}", error.what()));
  }
}

void read_ranks(RunContents& run) {
  const fs::path path = run.folder / "rank.h5";
  std::error_code unreadable;
  if (!fs::exists(path, unreadable))
    return;  // a dense stage has none; the page says so in its place
  try {
    run.ranks = RankLog::read(path);
  } catch (const UserError& error) {
    run.problems.push_back(error.what());
  }
}

/// The names below "stages" in a pipeline's summary.json, in the order of the file; none where it
/// is missing or damaged. A parsed document would not keep the order.
std::vector<std::string> stages_in_summary(const fs::path& run_dir) {
  const std::string text = readable_text(run_dir / "summary.json").value_or("");
  if (!io::is_harmless_json(text)) return {};
  std::vector<std::string> names;
  std::set<std::string> seen;
  std::string section;
  const auto note = [&](int depth, Json::parse_event_t event, const Json& parsed) {
    if (event != Json::parse_event_t::key || depth > 2) return true;
    const auto& name = parsed.get_ref<const std::string&>();
    if (depth == 1) section = name;
    if (depth == 2 && section == "stages" && seen.insert(name).second) names.push_back(name);
    return depth == 1;  // what a stage's summary says is not asked
  };
  const bool sound = !Json::parse(text, note, /*allow_exceptions=*/false).is_discarded();
  return sound ? names : std::vector<std::string>();
}

}  // namespace

std::string run_name(const fs::path& run_dir) {
  const fs::path whole = fs::absolute(run_dir).lexically_normal();
  // A path that ends in a slash has an empty last part.
  return whole.has_filename() ? whole.filename() : whole.parent_path().filename();
}

RunContents read_run(const fs::path& run_dir) {
  RunContents run;
  run.folder = run_dir;
  run.name = run_name(run_dir);
  read_config(run);
  read_metrics(run);
  read_summary(run);
  read_ranks(run);
  read_newest_samples(run);
  return run;
}

std::vector<std::string> stage_names(const fs::path& run_dir) {
  std::vector<std::string> names = stages_in_summary(run_dir);
  std::set<std::string> seen(names.begin(), names.end());
  std::set<std::string> others;
  std::error_code error;
  fs::directory_iterator entry(run_dir, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    std::error_code unreadable;
    if (fs::exists(entry->path() / "metrics.jsonl", unreadable))
      others.insert(entry->path().filename());
  }
  for (const std::string& name : others) {
    if (seen.insert(name).second) names.push_back(name);
  }
  return names;
}

std::vector<HealthAlarm> replay_health(const std::map<std::string, MetricSeries>& metrics,
                                       HealthMonitor& monitor) {
  std::map<double, NamedValues> by_step;
  for (const auto& [name, series] : metrics) {
    for (size_t i = 0; i < series.steps.size(); ++i) {
      by_step[series.steps[i]].emplace_back(name, series.values[i]);
    }
  }
  std::vector<HealthAlarm> alarms;
  for (const auto& [step, values] : by_step) {
    for (HealthAlarm& alarm : monitor.observe(static_cast<int64_t>(step), values)) {
      alarms.push_back(std::move(alarm));
    }
  }
  return alarms;
}

}  // namespace vmla::analysis
