#pragma once

#include <string>
#include <vector>

#include "analysis/sweep/sweep_results.h"

/// The plots of a sweep's page.
namespace vmla::analysis {

struct SweepPlot {
  std::string name;  // of its file
  std::string svg;
};

/// Every figure that a run has against what is swept, with its nulls (`null_`, `truncated_`,
/// `shuffled_` and `gaussian_` before the last word of its key) where they are figures too; and
/// "curve", the curve of each cell over the steps, where there is one.
std::vector<SweepPlot> sweep_plots(const SweepResults& results);

}  // namespace vmla::analysis
