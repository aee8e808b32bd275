#include "trainer/pipeline/stopping_signals.h"

#include <utility>

namespace vmla::trainer {
namespace {

// A handler can reach nothing but globals.
volatile std::sig_atomic_t last_signal = 0;

void note_signal(int signal) {
  last_signal = signal;
}

}  // namespace

StoppingSignals::StoppingSignals() {
  last_signal = 0;
  struct sigaction action{};
  action.sa_handler = note_signal;
  for (size_t i = 0; i < kSignals.size(); ++i) {
    sigaction(kSignals[i], &action, &before_[i]);
    const bool ignored = before_[i].sa_handler == SIG_IGN;
    if (kSignals[i] == SIGHUP && ignored) sigaction(SIGHUP, &before_[i], nullptr);
  }
}

StoppingSignals::~StoppingSignals() {
  for (size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &before_[i], nullptr);
}

int StoppingSignals::take() {
  return std::exchange(last_signal, 0);
}

}  // namespace vmla::trainer
