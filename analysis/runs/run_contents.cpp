#include "analysis/runs/run_contents.h"

#include <algorithm>

namespace vmla::analysis {

const MetricSeries* RunContents::metric(const std::string& key) const {
  const auto found = metrics.find(key);
  return found == metrics.end() ? nullptr : &found->second;
}

std::optional<double> RunContents::last_value(const std::string& key) const {
  const MetricSeries* series = metric(key);
  return series != nullptr ? std::optional<double>(series->values.back()) : std::nullopt;
}

double RunContents::last_step() const {
  double step = 0;
  for (const auto& [key, series] : metrics) step = std::max(step, series.steps.back());
  return step;
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

const RankLog* RunContents::measured_ranks() const {
  return ranks && !ranks->steps().empty() && !ranks->is_joint() ? &*ranks : nullptr;
}

const RankLog* RunContents::joint_ranks() const {
  return ranks && !ranks->steps().empty() && ranks->is_joint() ? &*ranks : nullptr;
}

}  // namespace vmla::analysis
