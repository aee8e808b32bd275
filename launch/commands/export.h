#pragma once

#include "launch/command_line.h"

namespace vmla::launch {

/// Writes a checkpoint in the layout of an inference engine (vmla export --help).
/// Returns the exit status; throws what error_report.h turns into one.
int cmd_export(const ExportArgs& args);

}  // namespace vmla::launch
