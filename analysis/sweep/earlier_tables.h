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
  /// Of the curve that the sweep draws; empty where its run had none.
  MetricSeries curve;
};

struct EarlierTables {
  std::string folder;      // as it was named
  std::string curve_name;  // of EarlierRun::curve
  std::vector<EarlierRun> runs;

  /// The run with these stages, if it is here and has every one of the figures; else nothing.
  const EarlierRun* find(const std::vector<std::string>& stages,
                         const std::vector<std::string>& figures) const;
};

/// Reads table.csv and, where they are, curves.csv and tune.csv of a sweep's folder
/// (docs/formats.md "Sweep"): the runs that are done. UserError on the first thing that is wrong,
/// with file and row.
EarlierTables read_earlier_tables(const std::filesystem::path& folder);

}  // namespace vmla::analysis
