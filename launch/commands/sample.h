#pragma once

#include "launch/command_line.h"

namespace vmla::launch {

/// Generates videos from a checkpoint (vmla sample --help).
/// Returns the exit status; throws what error_report.h turns into one.
int cmd_sample(const SampleArgs& args);

}  // namespace vmla::launch
