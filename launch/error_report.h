#pragma once

#include <exception>
#include <string>

#include "model/io/exit_status.h"

/// How the programs end with an error: one line on stderr and in the run's log, and an exit status.
namespace vmla::launch {

/// One line of ours for an exception, and its exit status. Those of the standard library and of
/// parsers say neither what was done nor what would be right; those that reach this point become a
/// line that does.
struct ExceptionLine {
  std::string text;
  int status = 1;
};
ExceptionLine line_of(const std::exception& error);

/// For use in a catch block: says the current exception and returns its exit status. UserError, and
/// a file or folder that cannot be used: kWrongInput; StopRequested: kStopped; anything else:
/// kFault.
int report_exception();

/// Says the first line of `message`, and returns kFault.
int report_fault(const std::string& message);

/// Says `message` for all ranks of this machine, and ends this one with `status`. Waits a second
/// before: ranks that come to the same error meanwhile find that it is said (host_voice.h).
[[noreturn]] void exit_for_peers(int status, const std::string& message);

/// Ends this rank quietly with `status`, because another rank reports the same error. Waits three
/// seconds before: whoever started the ranks stops all of them when the first one ends, and the
/// other one needs time to report.
[[noreturn]] void exit_after_peer_reports(int status);

}  // namespace vmla::launch
