#pragma once

#include <string>

#include "analysis/sweep/sweep_results.h"

/// The files of a sweep's results, as text.
namespace vmla::analysis {

std::string sweep_json(const SweepResults& results);
/// A row a run: cell, seed, axes, state, figures, stages.
std::string sweep_table_csv(const SweepResults& results);
/// A row a run and point of its curve: cell, seed, step, value.
std::string sweep_curves_csv(const SweepResults& results);
/// A row a run of `tune`: group, value tried, seed, figure, stages.
std::string sweep_tune_csv(const SweepResults& results);
/// A row a cell and figure: mean, sd, n, never, median.
std::string sweep_summary_csv(const SweepResults& results);
/// A row a cell with a baseline and figure: mean difference, interval, sd, n, left_out.
std::string sweep_differences_csv(const SweepResults& results);

/// "done", "failed" or "waiting".
std::string state_of(const SweepRunResult& run);

}  // namespace vmla::analysis
