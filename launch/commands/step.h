#pragma once

#include "launch/command_line.h"

namespace vmla::launch {

/// Evaluates the objective once on given tensors (vmla step --help).
/// Returns the exit status; throws what error_report.h turns into one.
int cmd_step(const StepArgs& args);

}  // namespace vmla::launch
