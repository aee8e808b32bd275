#pragma once

#include <string>

#include "analysis/video/drift.h"

namespace vmla::analysis {

/// The `drift` section of summary.json (docs/formats.md): the scores and the adherence, and every
/// figure by window beside the range of real clips. Numbers that do not exist are null.
std::string drift_json(const DriftMeasures& measures);

/// One line for the log.
std::string drift_line(const DriftMeasures& measures);

}  // namespace vmla::analysis
