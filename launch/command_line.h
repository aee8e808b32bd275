#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launch/commands.h"

/// The command line of `vmla`. The front program and the core parse it alike, so that a mistake
/// ends with status 2 before LibTorch is loaded.
namespace vmla::launch {

/// What a command line asks for: a text to print (help, version, an answer), or else a command to
/// run.
struct CommandLine {
  std::optional<std::string> text;
  AnyCommand command;
};

/// Parses argv. UserError: one line that names the option and says what is valid.
CommandLine parse_command_line(int argc, const char* const* argv);

/// Name, summary and help of every command, in the order of the list.
std::vector<CommandText> all_commands();

}  // namespace vmla::launch
