#pragma once

#include <string>

namespace vmla::launch {

/// What the program's exit status means (docs/operations.md "Statuses").
inline constexpr int kDone = 0;
inline constexpr int kFault = 1;
inline constexpr int kWrongInput = 2;
inline constexpr int kStopped = 75;  // stopped on request after saving: run me again

/// For use in a catch block: says the current exception in one line on stderr and in the run's log,
/// and returns the exit status that belongs to it.
int status_of_exception();

/// The same for a message that has no class of its own; only its first line is shown.
int report_fault(const std::string& message);

/// Ends a rank that leaves the word to another one: with `status`, and not before that one has had
/// its say, for whoever started the ranks stops all of them when the first one ends.
[[noreturn]] void leave_the_word(int status);

}  // namespace vmla::launch
