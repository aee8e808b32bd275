#pragma once

#include "launch/command_line.h"

namespace vmla::launch {

/// Trains one stage (vmla train --help).
/// Returns the exit status; throws what error_report.h turns into one.
int cmd_train(const TrainArgs& args);

}  // namespace vmla::launch
