#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "analysis/rank/rank_log.h"
#include "analysis/runs/health.h"

/// What a run folder holds, read for its report. Every part may be missing or damaged: it is then
/// empty, and `problems` says so in one line each.
namespace vmla::analysis {

/// One figure over the steps.
struct MetricSeries {
  std::vector<double> steps, values;
};

/// One sampled video.
struct SampleClip {
  std::filesystem::path file;
  std::string prompt;
  int64_t frames = 0;
  double fps = 0;
};

struct RunContents {
  std::filesystem::path folder;
  std::string name;  // of the stage, or of the folder
  std::map<std::string, MetricSeries> metrics;
  int64_t first_damaged_line = 0;  // of metrics.jsonl, counted from 1; 0: none
  std::map<std::string, double>
      summary;  // numbers of summary.json (true is 1), keys joined by dots
  std::map<std::string, std::vector<double>> summary_lists;  // its lists of numbers; null is NaN
  std::map<std::string, std::string> config;  // scalars and lists of config.yaml, as flat_yaml
  std::string config_text;
  std::optional<RankLog> ranks;
  int64_t sample_step = -1;
  std::vector<SampleClip> samples;  // of the newest step
  std::vector<std::string> problems;

  const MetricSeries* metric(const std::string& key) const;
  std::optional<double> figure(const std::string& key) const;        // of the summary
  const std::vector<double>* figures(const std::string& key) const;  // a list of the summary
  std::string setting(const std::string& key) const;                 // of the config; "" if absent
};

/// The scalars of a yaml text, and its lists as [a, b], keys joined by dots. Throws what yaml-cpp
/// throws.
std::map<std::string, std::string> flat_yaml(const std::string& text);

/// Feeds a run's logged figures to `monitor`, step by step as the run did, and returns the alarms:
/// what a report shows, and how a resumed run's monitor learns its past.
std::vector<HealthAlarm> replay_health(const std::map<std::string, MetricSeries>& metrics,
                                       HealthMonitor& monitor);

RunContents read_run(const std::filesystem::path& run_dir);

/// The stages of a pipeline's run folder, in the order of its summary.json, then any other
/// subfolder with a metrics.jsonl by name.
std::vector<std::string> stage_names(const std::filesystem::path& run_dir);

}  // namespace vmla::analysis
