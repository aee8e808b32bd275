#pragma once

#include <csignal>
#include <string>
#include <vector>

namespace vmla::launch {

/// "SIGKILL" for 9.
std::string signal_name(int number);

/// While it exists, SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1 and SIGCHLD do not interrupt: they
/// are read from a descriptor, in the loop that also reads everything else. Writing to a closed
/// pipe fails with EPIPE instead of raising SIGPIPE. A signal that was ignored at the start (nohup)
/// stays ignored.
class SignalQueue {
 public:
  SignalQueue();
  ~SignalQueue();
  SignalQueue(const SignalQueue&) = delete;
  SignalQueue& operator=(const SignalQueue&) = delete;

  /// Readable when a signal has come.
  int fd() const { return fd_; }
  /// The signals that have come since the last call. SIGCHLD only ends the wait for the descriptor
  /// and is left out.
  std::vector<int> take();
  /// For a child before exec(): sets signals as they were when the launcher started.
  void restore() const;

 private:
  sigset_t previous_;
  int fd_ = -1;
};

}  // namespace vmla::launch
