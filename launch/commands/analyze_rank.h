#pragma once

#include "launch/command_line.h"

namespace vmla::launch {

/// Effective rank of the latent map in checkpoints (vmla analyze rank --help).
/// Returns the exit status; throws what error_report.h turns into one.
int cmd_analyze_rank(const AnalyzeRankArgs& args);

}  // namespace vmla::launch
