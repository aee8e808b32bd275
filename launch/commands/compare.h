#pragma once

#include "launch/command_line.h"

namespace vmla::launch {

/// Two runs side by side, or a run against a reference trace (vmla compare --help).
/// Returns the exit status; throws what error_report.h turns into one.
int cmd_compare(const CompareArgs& args);

}  // namespace vmla::launch
