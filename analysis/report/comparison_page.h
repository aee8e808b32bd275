#pragma once

#include <filesystem>
#include <vector>

#include "analysis/report/comparison_text.h"

namespace vmla::analysis {

/// Writes comparison.csv (every point: stage, figure, until, a, b, or value, mean, low, high,
/// inside) and comparison.html (plots) into `out`.
void write_comparison(const std::vector<RunPair>& stages, const std::filesystem::path& out);
void write_comparison(const std::vector<ReferenceCheck>& stages, const std::filesystem::path& out);

}  // namespace vmla::analysis
