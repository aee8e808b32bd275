#pragma once

#include "launch/command_line.h"

namespace vmla::launch {

/// Converts dense weights between layouts (vmla convert --help).
/// Returns the exit status; throws what error_report.h turns into one.
int cmd_convert(const ConvertArgs& args);

}  // namespace vmla::launch
