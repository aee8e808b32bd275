#pragma once

namespace vmla::launch {

/// Holds SIGINT, SIGTERM, SIGHUP, SIGQUIT and SIGUSR1 back, also over exec, or lets them through
/// again: those that came in between come then. Between two programs there is no handler that could
/// end a job with its line and status.
void hold_signals(bool hold);

}  // namespace vmla::launch
