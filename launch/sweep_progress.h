#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "analysis/sweep/earlier_tables.h"
#include "analysis/sweep/sweep_results.h"
#include "trainer/sweep/sweep_plan.h"
#include "trainer/sweep/sweep_tuning.h"

namespace vmla::launch {

/// The runs of a sweep's cells as they end: their figures are read, and the tables written.
class SweepProgress {
 public:
  /// The plan of all cells, the lost ones too.
  SweepProgress(const trainer::SweepFile& file,
                const trainer::SweepPlan& plan,
                std::filesystem::path run_dir);

  void set_choices(const std::vector<trainer::TuneGroup>& groups,
                   const std::vector<analysis::SweepChoice>& choices);
  /// Whether a run of another sweep's tables has every metric of this one, and the steps to every
  /// target on the same curve.
  bool has_all_figures(const analysis::EarlierRun& earlier) const;
  /// Takes the figures of a run from there.
  void take_over(const trainer::SweepRun& run, const analysis::EarlierRun& earlier);
  void fail_cell(size_t cell, const std::string& why);
  /// A shared stage has ended; `failure` is "" where it is finished. Writes the tables where they
  /// are more than some seconds old.
  void stage_ended(const std::string& stage, const std::string& failure);
  void write();
  /// Says which metrics no finished run has.
  void warn_of_missing() const;

  size_t runs() const { return results_.runs.size(); }
  size_t done() const;
  size_t failed() const;

 private:
  /// Reads a run all of whose stages are finished.
  void finish(const trainer::SweepRun& run, analysis::SweepRunResult& result);
  analysis::SweepRunResult& result_of(const trainer::SweepRun& run);

  const trainer::SweepFile& file_;
  std::vector<trainer::SweepRun> plan_;
  std::filesystem::path run_dir_;
  analysis::SweepResults results_;
  trainer::SweepFigure curve_;  // that is drawn
  std::set<std::string> finished_;
  std::set<std::string> known_keys_;  // of all runs read so far
  std::chrono::steady_clock::time_point written_ = {};
};

}  // namespace vmla::launch
