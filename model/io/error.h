#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

#include "model/io/format.h"

namespace vmla {

/// Something the user can fix: a configuration, a file, a missing codec. The message is one line
/// that says what was found, where, and what would be right. Ends the program with status 2.
class UserError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A fault of the run itself that has a one-line explanation (a full disk, a NaN in a loss).
/// Status 1.
class RunError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The run was asked to stop and has saved its state. Status 75: "run me again".
class StopRequested : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Throws UserError with a message as it stands, or with a template and its values (format.h).
[[noreturn]] inline void fail_user(std::string_view message) {
  throw UserError(std::string(message));
}
template <class... Values>
  requires(sizeof...(Values) > 0)
[[noreturn]] void fail_user(FormatFor<Values...> message, const Values&... values) {
  throw UserError(formatted(message, values...));
}

/// Throws RunError, likewise.
[[noreturn]] inline void fail_run(std::string_view message) {
  throw RunError(std::string(message));
}
template <class... Values>
  requires(sizeof...(Values) > 0)
[[noreturn]] void fail_run(FormatFor<Values...> message, const Values&... values) {
  throw RunError(formatted(message, values...));
}

}  // namespace vmla
