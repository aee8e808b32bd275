#pragma once

#include "launch/command_line.h"

namespace vmla::launch {

/// Stores clips with the states of a teacher's ODE path to each (vmla data ode --help).
/// Returns the exit status; throws what error_report.h turns into one.
int cmd_data_ode(const DataOdeArgs& args);

}  // namespace vmla::launch
