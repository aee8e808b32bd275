#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "analysis/rank/rank_log.h"
#include "analysis/runs/metric_series.h"

namespace vmla::analysis {

/// One sampled video. What samples.json does not say stays "" or 0.
struct SampleClip {
  std::filesystem::path file;
  std::string prompt = {};
  int64_t frames = 0;
  double fps = 0;
};

/// What a run folder holds (docs/formats.md, "Run folder"), as far as it could be read.
struct RunContents {
  std::filesystem::path folder;
  /// Of the folder, which a pipeline names after the stage.
  std::string name;

  std::map<std::string, MetricSeries> metrics;
  /// The first line of metrics.jsonl that is no step, counted from 1; 0: all are.
  int64_t first_damaged_line = 0;

  /// Numbers of summary.json by their keys joined by dots ("adherence.colour"); true is 1.
  std::map<std::string, double> summary;
  /// Its lists of numbers, likewise; null is NaN.
  std::map<std::string, std::vector<double>> summary_lists;

  /// Scalars and lists of config.yaml, as flat_yaml() gives them, and its text.
  std::map<std::string, std::string> config;
  std::string config_text;

  /// rank.h5.
  std::optional<RankLog> ranks;

  /// The newest step with samples (-1: none has), and its videos in the order of the prompts.
  int64_t sample_step = -1;
  std::vector<SampleClip> samples;

  /// One sentence for everything that is missing or damaged.
  std::vector<std::string> problems;

  /// A metric; nullptr if no step has it.
  const MetricSeries* metric(const std::string& key) const;
  /// A metric's last value.
  std::optional<double> last_value(const std::string& key) const;
  /// The last step of any metric; 0 without one. A player that is updated less often than others
  /// has its last value earlier.
  double last_step() const;
  /// A number or a list of the summary.
  std::optional<double> figure(const std::string& key) const;
  const std::vector<double>* figures(const std::string& key) const;
  /// A value of the configuration; "" if it has none.
  std::string setting(const std::string& key) const;
  /// The rank log if it holds a measurement of latents, else nullptr.
  const RankLog* measured_ranks() const;
  /// The rank log if it holds one of a dense model's [W_K; W_V], else nullptr.
  const RankLog* joint_ranks() const;
};

}  // namespace vmla::analysis
