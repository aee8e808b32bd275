#pragma once

#include "launch/command_line.h"

namespace vmla::launch {

/// Trains the stages of a pipeline file, then writes its summary and report (vmla pipeline --help).
/// Returns the exit status; throws what error_report.h turns into one.
int cmd_pipeline(const PipelineArgs& args);

}  // namespace vmla::launch
