#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "launch/options/option_set.h"

/// What a command consists of. `vmla`, the front program without LibTorch, parses and checks;
/// `vmla-core` parses again and runs. A command NAME has three sources in launch/commands/:
///
///   NAME.h            its arguments: a struct derived from CommandArgs, with their defaults
///   NAME_options.cpp  its help, its options and their checks; without LibTorch, in both programs
///   NAME.cpp          run(), in vmla-core only
///
/// and one row in the list of launch/commands.h, from which the parser, the help and both programs
/// follow.
namespace vmla::launch {

/// What a command is called, and what --help says of it.
struct CommandText {
  std::string_view name;     // as it is typed: "train", or "data encode" for one of a group
  std::string_view summary;  // one line
  std::string_view help;     // below the options: what it reads and writes, with examples
};

/// CPU threads of vmla-core.
struct CpuThreads {
  int64_t count = 1;
  bool asked_for = false;  // by the configuration: wins over OMP_NUM_THREADS, as no default does
};

/// A command's arguments as they are parsed. What a command does not declare itself it has from
/// here. Nothing is virtual: the type of a parsed command is known where these are called.
struct CommandArgs {
  /// Why the command cannot be started as several ranks: its processes would write the same files.
  /// None: it shares its work among them.
  std::optional<std::string> one_process() const { return "this command runs in one process"; }

  /// Checks what concerns several options at once. UserError, with command and option in front.
  void check() const {}

  /// Text that is all the options ask for. It is printed, and the command does not run.
  std::optional<std::string> answer() const { return std::nullopt; }

  /// Called in the front program, before LibTorch is loaded: checks what needs no tensor, such as
  /// the configuration (UserError), and says how many CPU threads the core gets.
  CpuThreads front_check() const { return default_threads(); }

  /// All cores that each of so many processes on this machine may count on, but not more than
  /// eight.
  static CpuThreads default_threads(int64_t processes = 1);
};

/// What the list of commands asks of each, so that a mistake is reported for the row. `run` returns
/// the exit status, or throws what error_report.h turns into one.
template <class T>
concept Command =
    std::derived_from<T, CommandArgs> && requires(T args, const T& parsed, OptionSet& options) {
      { T::kText } -> std::convertible_to<CommandText>;
      args.define(options);
      { run(parsed) } -> std::same_as<int>;
    };

}  // namespace vmla::launch
