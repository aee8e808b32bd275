#pragma once

#include "launch/command_line.h"

namespace vmla::launch {

/// Samples a dataset of clips from a bidirectional teacher (vmla data generate --help).
/// Returns the exit status; throws what error_report.h turns into one.
int cmd_data_generate(const DataGenerateArgs& args);

}  // namespace vmla::launch
