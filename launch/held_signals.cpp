#include "launch/held_signals.h"

#include <csignal>
#include <initializer_list>

namespace vmla::launch {

void hold_signals(bool hold) {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1}) sigaddset(&signals, number);
  sigprocmask(hold ? SIG_BLOCK : SIG_UNBLOCK, &signals, nullptr);
}

}  // namespace vmla::launch
