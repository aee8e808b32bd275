#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "analysis/runs/metric_series.h"
#include "analysis/sweep/paired_statistics.h"

/// What a sweep's tables say of its finished runs, read back: another machine, or an earlier day,
/// has trained them, and the run folders are not here.
namespace vmla::analysis {

struct EarlierRun {
  /// What the run is: the names of its stages with the hash of each (SweepRunResult::stages).
  std::vector<std::string> stages;
  std::map<std::string, SeedFigure> figures;
  /// The curve that its sweep draws, and to whose targets steps are counted: its name, "" where no
  /// run had one, and its points, none where this run had none.
  std::string curve_name;
  MetricSeries curve;
};

/// Reads table.csv and, where they are, curves.csv and tune.csv of a sweep's folder
/// (docs/formats.md "Sweep"): the runs that are done. UserError on the first thing that is wrong,
/// with file and row.
std::vector<EarlierRun> read_earlier_tables(const std::filesystem::path& folder);

}  // namespace vmla::analysis
