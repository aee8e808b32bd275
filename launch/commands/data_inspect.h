#pragma once

#include "launch/command_line.h"

namespace vmla::launch {

/// Prints and checks a latent dataset (vmla data inspect --help).
/// Returns the exit status; throws what error_report.h turns into one.
int cmd_data_inspect(const DataInspectArgs& args);

}  // namespace vmla::launch
