#pragma once

#include <string>

#include "analysis/video/drift.h"

namespace vmla::analysis {

/// The `drift` section of summary.json (docs/formats.md, "Drift") as JSON text: shift, score,
/// adherence, and every figure by window beside the band of real clips. Numbers that do not exist
/// are null.
std::string drift_json(const DriftMeasures& measures);

/// The same in one line for the log: the worst figures and the last window.
std::string drift_line(const DriftMeasures& measures);

}  // namespace vmla::analysis
