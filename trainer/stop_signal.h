#pragma once

namespace vmla::trainer {

/// While an object lives, SIGINT, SIGTERM, SIGHUP, SIGQUIT and SIGUSR1 only set a flag, at which
/// the loop looks between steps, so that a run saves its state and ends with status 75. A second
/// SIGINT ends the process at once. One object at a time; the destructor puts the former handlers
/// back.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  /// The signal's name ("SIGTERM"), or null while none has come.
  const char* received() const;
};

}  // namespace vmla::trainer
