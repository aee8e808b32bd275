#pragma once

#include "launch/command_line.h"

namespace vmla::launch {

/// Converts dense weights to latent attention (vmla init --help).
/// Returns the exit status; throws what error_report.h turns into one.
int cmd_init(const InitArgs& args);

}  // namespace vmla::launch
