#pragma once

#include "launch/command_line.h"

namespace vmla::launch {

/// Renders captioned moving shapes as video files (vmla data synth --help).
/// Returns the exit status; throws what error_report.h turns into one.
int cmd_data_synth(const DataSynthArgs& args);

}  // namespace vmla::launch
