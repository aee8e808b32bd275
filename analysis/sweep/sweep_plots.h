#pragma once

#include <string>
#include <vector>

#include "analysis/sweep/sweep_results.h"

/// The plots of a sweep's page (SVG).
namespace vmla::analysis {

/// One figure against the axis that is swept: the first whose values are all numbers, a line for
/// each combination of the others, mean ± sd over seeds, a dot a run; cells outside the grid are
/// level lines. Without such an axis the cells stand side by side.
std::string figure_plot(const SweepResults& results, size_t figure);

/// The curve of each cell, the mean over the seeds that are done, with the targets as level lines.
/// "" where no run has one.
std::string curve_plot(const SweepResults& results);

}  // namespace vmla::analysis
