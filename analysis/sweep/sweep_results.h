#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "analysis/runs/run_contents.h"
#include "analysis/sweep/paired_statistics.h"

/// What a sweep came to, ready for its tables and its page.
namespace vmla::analysis {

/// A figure that the tables show: of a stage's run, a key of summary.json or of metrics.jsonl; with
/// `target`, the steps in which the curve of that key falls to it.
struct SweepFigureSpec {
  std::string name;  // "tf.validation_loss", "steps_to_0.4"
  std::string stage;
  std::string key;
  std::optional<double> target = {};
};

/// The figure as the run folder has it: a number of summary.json, the mean of a list there (a
/// figure by layer), or the last value of metrics.jsonl.
std::optional<double> run_figure(const RunContents& run, const std::string& key);

/// The first step at which the curve is at most `target` (docs/algorithms.md 19.2), on the straight
/// line between the points around it; that of the first point where it begins there. Never where it
/// stays above; without a curve there is nothing to say.
SeedFigure steps_to_target(const MetricSeries* curve, double target);

/// A cell under one seed.
struct SweepRunResult {
  size_t cell = 0;
  int64_t seed = 0;
  std::string folder;  // relative to the sweep's; "" where another sweep's tables have the figures
  /// What the run is: the names of its stages, each with a hash of what decides its result.
  std::vector<std::string> stages;
  bool done = false;
  std::string failure;               // why it is not done and will not be; "" while it waits
  std::vector<SeedFigure> figures;   // of each figure
  std::vector<MetricSeries> curves;  // the one that is drawn, or nothing
};

struct SweepCellResult {
  std::string name;
  std::vector<std::string> labels;  // of the axes; empty for a cell outside the grid
  std::optional<size_t> baseline;   // the cell that differences are taken from
  std::string tuned;                // the value chosen for it; "" without a choice
};

/// A choice: for each value tried the figure of each seed (NaN: none).
struct SweepChoice {
  std::string group;
  std::vector<std::vector<double>> figures;
  /// What the runs are, likewise (SweepRunResult::stages).
  std::vector<std::vector<std::vector<std::string>>> stages;
  std::optional<size_t> chosen;
};

struct SweepResults {
  std::string name;
  std::vector<std::string> axes;
  std::vector<SweepFigureSpec> figures;
  std::vector<int64_t> seeds;
  std::vector<SweepCellResult> cells;
  std::vector<SweepRunResult> runs;  // every cell under every seed
  std::string tuned_key, tune_figure;
  std::vector<std::string> tuned_values;
  std::vector<int64_t> tune_seeds;
  std::vector<SweepChoice> choices;
  std::string curve_name;  // of SweepRunResult::curves

  /// A figure of one cell, seed by seed in the order of `seeds`.
  std::vector<SeedFigure> figures_of(size_t cell, size_t figure) const;
  /// The cell less its baseline, at equal seeds. The cell has one.
  PairedDifference difference_of(size_t cell, size_t figure) const;
};

/// Reads the figures of a finished stage run into `run`: those that are of `stage`.
void read_figures(const RunContents& contents,
                  const std::string& stage,
                  const std::vector<SweepFigureSpec>& figures,
                  SweepRunResult& run);

/// Writes sweep.json, table.csv, curves.csv, tune.csv, summary.csv, differences.csv, plots/ and
/// sweep.html into the sweep's folder (docs/formats.md "Sweep").
void write_sweep(const SweepResults& results, const std::filesystem::path& folder);

}  // namespace vmla::analysis
