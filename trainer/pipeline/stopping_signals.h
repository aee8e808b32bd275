#pragma once

#include <algorithm>
#include <array>
#include <csignal>

namespace vmla::trainer {

/// While it lives, SIGINT, SIGTERM, SIGHUP, SIGQUIT and SIGUSR1 are only noted, for the pipeline to
/// pass on to its stages; a system call that waits is interrupted. Under nohup SIGHUP stays
/// ignored. One at a time.
class StoppingSignals {
 public:
  StoppingSignals();
  ~StoppingSignals();
  StoppingSignals(const StoppingSignals&) = delete;
  StoppingSignals& operator=(const StoppingSignals&) = delete;

  /// The last signal that came since this was asked; 0: none did.
  int take();

  /// Whether `signal` is one of them.
  static bool includes(int signal) { return std::ranges::find(kSignals, signal) != kSignals.end(); }

 private:
  static constexpr std::array<int, 5> kSignals = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1};
  std::array<struct sigaction, kSignals.size()> before_{};
};

}  // namespace vmla::trainer
