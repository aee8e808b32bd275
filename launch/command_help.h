#pragma once

#include <string>

namespace vmla::launch {

/// What --help says beyond the list of flags.
struct CommandHelp {
  std::string summary;  // one line
  std::string text;     // what it reads and writes, with examples
};

/// Help of a command ("train", "data encode"), of a group ("data"), or of the program ("").
const CommandHelp& command_help(const std::string& command);

}  // namespace vmla::launch
