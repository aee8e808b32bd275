#pragma once

#include "launch/command_line.h"

namespace vmla::launch {

/// Singular spectra of dense key and value weights (vmla analyze spectrum --help).
/// Returns the exit status; throws what error_report.h turns into one.
int cmd_analyze_spectrum(const AnalyzeSpectrumArgs& args);

}  // namespace vmla::launch
