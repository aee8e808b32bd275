#pragma once

#include "launch/command_line.h"

namespace vmla::launch {

/// Turns videos and captions into a latent dataset (vmla data encode --help).
/// Returns the exit status; throws what error_report.h turns into one.
int cmd_data_encode(const DataEncodeArgs& args);

}  // namespace vmla::launch
