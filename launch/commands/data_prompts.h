#pragma once

#include "launch/command_line.h"

namespace vmla::launch {

/// Embeds a file of prompts into a prompt set (vmla data prompts --help).
/// Returns the exit status; throws what error_report.h turns into one.
int cmd_data_prompts(const DataPromptsArgs& args);

}  // namespace vmla::launch
