#include "analysis/runs/run_reading.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "model/io/error.h"

namespace vmla::analysis {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

std::optional<std::string> text_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return std::nullopt;
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

void read_metrics(RunContents& run) {
  const auto text = text_of(run.folder / "metrics.jsonl");
  if (!text) {
    run.problems.push_back("metrics.jsonl is missing: no losses to show.");
    return;
  }
  int64_t damaged = 0, number = 0;
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    ++number;
    const Json object = Json::parse(line, nullptr, /*allow_exceptions=*/false);
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
  const auto text = text_of(run.folder / "summary.json");
  if (!text) {
    run.problems.push_back(
        "summary.json is missing: the stage has not ended, so nothing was measured on its "
        "samples.");
    return;
  }
  const Json summary = Json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!summary.is_object()) run.problems.push_back("summary.json is damaged.");
  flatten(summary, "", run);
}

void flatten(const YAML::Node& node,
             const std::string& key,
             std::map<std::string, std::string>& out) {
  if (node.IsScalar()) {
    out[key] = node.Scalar();
  } else if (node.IsSequence()) {
    std::string list;
    for (const auto& item : node) {
      list += (list.empty() ? "" : ", ") + (item.IsScalar() ? item.Scalar() : YAML::Dump(item));
    }
    out[key] = "[" + list + "]";
  } else if (node.IsMap()) {
    for (const auto& entry : node) {
      const std::string name = entry.first.Scalar();
      flatten(entry.second, key.empty() ? name : key + "." + name, out);
    }
  }
}

void read_config(RunContents& run) {
  const auto text = text_of(run.folder / "config.yaml");
  if (!text) {
    run.problems.push_back("config.yaml is missing.");
    return;
  }
  run.config_text = *text;
  try {
    run.config = flat_yaml(*text);
  } catch (const YAML::Exception& error) {
    run.problems.push_back(formatted("config.yaml cannot be read: {}", error.what()));
  }
}

void read_ranks(RunContents& run) {
  const fs::path path = run.folder / "rank.h5";
  if (!fs::exists(path)) return;  // a dense stage has none; the page says so in its place
  try {
    run.ranks = RankLog::read(path);
  } catch (const UserError& error) {
    run.problems.push_back(error.what());
  }
}

// The step of a folder called step_N, or -1.
int64_t step_of(const fs::path& folder) {
  const std::string name = folder.filename();
  if (name.rfind("step_", 0) != 0 || name.size() == 5 || name.size() > 20) return -1;
  return name.find_first_not_of("0123456789", 5) == std::string::npos ? std::stoll(name.substr(5))
                                                                      : -1;
}

SampleClip clip_of(const fs::path& file, const Json& record) {
  SampleClip clip{file, "", 0, 0};
  if (record.contains("prompt") && record["prompt"].is_string()) clip.prompt = record["prompt"];
  if (record.contains("frames") && record["frames"].is_number())
    clip.frames = record["frames"].get<int64_t>();
  if (record.contains("fps") && record["fps"].is_number()) clip.fps = record["fps"].get<double>();
  return clip;
}

// samples.json lists the videos in prompt order; without it the files stand for themselves.
void read_samples(RunContents& run) {
  std::error_code error;
  fs::path newest;
  for (const auto& entry : fs::directory_iterator(run.folder / "samples", error)) {
    if (entry.is_directory() && step_of(entry.path()) > run.sample_step) {
      run.sample_step = step_of(entry.path());
      newest = entry.path();
    }
  }
  if (newest.empty()) return;
  const Json records = Json::parse(
      text_of(newest / "samples.json").value_or(""), nullptr, /*allow_exceptions=*/false);
  if (records.is_array()) {
    for (const Json& record : records) {
      if (!record.is_object() || !record.contains("file") || !record["file"].is_string()) continue;
      // A name, never a path: the page must not embed files from elsewhere.
      const fs::path file = newest / fs::path(record["file"].get<std::string>()).filename();
      if (fs::is_regular_file(file)) run.samples.push_back(clip_of(file, record));
    }
    return;
  }
  run.problems.push_back(
      "samples.json is missing or damaged: the videos are shown without their prompts.");
  for (const auto& entry : fs::directory_iterator(newest, error)) {
    const fs::path extension = entry.path().extension();
    if (extension == ".mp4" || extension == ".y4m") run.samples.push_back({entry.path(), "", 0, 0});
  }
  std::sort(run.samples.begin(), run.samples.end(), [](const auto& a, const auto& b) {
    return a.file < b.file;
  });
}

}  // namespace

const MetricSeries* RunContents::metric(const std::string& key) const {
  const auto found = metrics.find(key);
  return found == metrics.end() ? nullptr : &found->second;
}

std::optional<double> RunContents::figure(const std::string& key) const {
  const auto found = summary.find(key);
  return found == summary.end() ? std::nullopt : std::optional<double>(found->second);
}

const std::vector<double>* RunContents::figures(const std::string& key) const {
  const auto found = summary_lists.find(key);
  return found == summary_lists.end() ? nullptr : &found->second;
}

std::string RunContents::setting(const std::string& key) const {
  const auto found = config.find(key);
  return found == config.end() ? "" : found->second;
}

std::map<std::string, std::string> flat_yaml(const std::string& text) {
  std::map<std::string, std::string> scalars;
  flatten(YAML::Load(text), "", scalars);
  return scalars;
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

RunContents read_run(const std::filesystem::path& run_dir) {
  RunContents run;
  run.folder = run_dir;
  read_config(run);
  read_metrics(run);
  read_summary(run);
  read_ranks(run);
  read_samples(run);
  // A pipeline names its folders after the stages; a lone run's folder may be called anything.
  run.name = fs::absolute(run_dir).lexically_normal().filename();
  if (run.name.empty())
    run.name = fs::absolute(run_dir).lexically_normal().parent_path().filename();
  return run;
}

std::vector<std::string> stage_names(const std::filesystem::path& run_dir) {
  std::vector<std::string> names;
  std::set<std::string> seen;
  const Json summary = Json::parse(
      text_of(run_dir / "summary.json").value_or(""), nullptr, /*allow_exceptions=*/false);
  if (summary.is_object() && summary.contains("stages") && summary["stages"].is_object()) {
    for (const auto& [name, content] : summary["stages"].items()) {
      if (seen.insert(name).second) names.push_back(name);
    }
  }
  std::set<std::string> others;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(run_dir, error)) {
    if (fs::exists(entry.path() / "metrics.jsonl")) others.insert(entry.path().filename());
  }
  for (const std::string& name : others) {
    if (seen.insert(name).second) names.push_back(name);
  }
  return names;
}

}  // namespace vmla::analysis
