#pragma once

#include <string>
#include <vector>

/// Scripts that let a shell complete the command line of `vmla`, made from the table of its
/// commands.
namespace vmla::launch {

/// An option, as a shell needs to know it.
struct CompletionOption {
  std::string name;  // "--config"
  std::string help;  // one line
  bool takes_value = true;
  std::vector<std::string> choices;  // of its value; none: a file's name, or anything
};

/// A command, or a group of them without options.
struct CompletionCommand {
  std::string name;  // "data encode"; "data" for the group
  std::string summary;
  std::vector<CompletionOption> options;
};

/// The script for bash, to be sourced or put into share/bash-completion/completions as `vmla`.
std::string bash_completion(const std::vector<CompletionCommand>& commands);

/// The script for zsh, to be sourced or put into a folder of its fpath as `_vmla`.
std::string zsh_completion(const std::vector<CompletionCommand>& commands);

}  // namespace vmla::launch
