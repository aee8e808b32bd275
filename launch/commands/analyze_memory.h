#pragma once

#include "launch/command_line.h"

namespace vmla::launch {

/// What a stage needs, before it starts (vmla analyze memory --help).
/// Returns the exit status; throws what error_report.h turns into one.
int cmd_analyze_memory(const AnalyzeMemoryArgs& args);

}  // namespace vmla::launch
