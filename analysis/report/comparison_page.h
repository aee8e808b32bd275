#pragma once

#include <filesystem>
#include <vector>

#include "analysis/report/comparison_text.h"

namespace vmla::analysis {

/// Writes comparison.csv (a line for every point of a curve and every final figure) and
/// comparison.html (plots and tables) into the folder `out`, which is made if missing. The columns
/// of two runs: stage, figure, until, a, b. Those of a reference: stage, figure, until, value,
/// mean, low, high, inside (1 or 0). `until` is the last step of the point's interval, or "end".
void write_comparison(const std::vector<RunPair>& stages, const std::filesystem::path& out);
void write_comparison(const std::vector<ReferenceCheck>& stages, const std::filesystem::path& out);

}  // namespace vmla::analysis
