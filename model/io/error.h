#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace vmla {

/// Concatenates anything that has operator<<. The one way messages are put together.
template <class... Parts>
std::string cat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

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

template <class... Parts>
[[noreturn]] void fail_user(const Parts&... parts) {
  throw UserError(cat(parts...));
}

template <class... Parts>
[[noreturn]] void fail_run(const Parts&... parts) {
  throw RunError(cat(parts...));
}

}  // namespace vmla
