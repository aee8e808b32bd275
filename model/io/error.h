#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

#include "model/io/format.h"
#include "model/io/quoted_name.h"

namespace vmla {

/// An error that the user can fix: in a configuration, a file, an argument. Its message is one line
/// that says what was found, where, and what would be right. Ends the program with status 2. Names
/// in it may come from anybody, so what a terminal would obey is escaped (printable()).
class UserError : public std::runtime_error {
 public:
  explicit UserError(std::string_view message) : std::runtime_error(io::printable(message)) {}
};

/// A failure of the run that one line explains, such as a full disk or a NaN in a loss. Ends the
/// program with status 1. Escaped likewise.
class RunError : public std::runtime_error {
 public:
  explicit RunError(std::string_view message) : std::runtime_error(io::printable(message)) {}
};

/// The run was asked to stop and has saved its state. Ends the program with status 75: the same
/// command goes on from there.
class StopRequested : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Throws UserError with a message as it stands, or with a template and its values (format.h).
[[noreturn]] inline void fail_user(std::string_view message) {
  throw UserError(message);
}
template <class... Values>
  requires(sizeof...(Values) > 0)
[[noreturn]] void fail_user(FormatFor<Values...> message, const Values&... values) {
  throw UserError(formatted(message, values...));
}

/// Throws RunError, likewise.
[[noreturn]] inline void fail_run(std::string_view message) {
  throw RunError(message);
}
template <class... Values>
  requires(sizeof...(Values) > 0)
[[noreturn]] void fail_run(FormatFor<Values...> message, const Values&... values) {
  throw RunError(formatted(message, values...));
}

}  // namespace vmla
