#pragma once

#include <csignal>
#include <string>
#include <vector>

namespace vmla::launch {

/// "SIGKILL" of 9.
std::string signal_name(int number);

/// While it lives, SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1 and SIGCHLD are read from a descriptor
/// instead of interrupting, and writing to a closed pipe is an error instead of a signal. What was
/// ignored at the start (nohup) stays ignored.
class SignalQueue {
 public:
  SignalQueue();
  ~SignalQueue();
  SignalQueue(const SignalQueue&) = delete;
  SignalQueue& operator=(const SignalQueue&) = delete;

  /// Readable when a signal has come.
  int fd() const { return fd_; }
  /// The signals that have come since, without SIGCHLD.
  std::vector<int> take();
  /// For a child before exec: signals as they were when this process started.
  void restore() const;

 private:
  sigset_t previous_;
  int fd_ = -1;
};

}  // namespace vmla::launch
