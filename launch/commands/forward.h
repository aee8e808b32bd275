#pragma once

#include "launch/command_line.h"

namespace vmla::launch {

/// Evaluates the network once on given tensors (vmla forward --help).
/// Returns the exit status; throws what error_report.h turns into one.
int cmd_forward(const ForwardArgs& args);

}  // namespace vmla::launch
