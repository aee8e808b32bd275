#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "analysis/runs/health.h"
#include "analysis/runs/run_contents.h"

/// Reads run folders for reports and comparisons.
namespace vmla::analysis {

/// The name of a run folder. A pipeline calls its folders after the stages; a lone run's folder may
/// be called anything.
std::string run_name(const std::filesystem::path& run_dir);

/// What the folder of one stage holds. Never throws for what is missing or damaged: that part stays
/// empty, and RunContents::problems says so.
RunContents read_run(const std::filesystem::path& run_dir);

/// The stages of a pipeline's run folder: those that its summary.json lists, in that order, then by
/// name the other subfolders with a metrics.jsonl.
std::vector<std::string> stage_names(const std::filesystem::path& run_dir);

/// Feeds a run's logged figures to `monitor`, step by step as the run did, and returns the alarms:
/// what a report shows, and how a resumed run's monitor learns its past.
std::vector<HealthAlarm> replay_health(const std::map<std::string, MetricSeries>& metrics,
                                       HealthMonitor& monitor);

}  // namespace vmla::analysis
