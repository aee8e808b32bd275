#include "trainer/stop_signal.h"

#include <array>
#include <atomic>
#include <csignal>
#include <cstdlib>

namespace vmla::trainer {
namespace {

struct Watched {
  int number;
  const char* name;
};
constexpr std::array<Watched, 5> kSignals = {{{SIGINT, "SIGINT"},
                                              {SIGTERM, "SIGTERM"},
                                              {SIGHUP, "SIGHUP"},
                                              {SIGQUIT, "SIGQUIT"},
                                              {SIGUSR1, "SIGUSR1"}}};

// A signal handler reaches nothing but globals, and may touch only what is lock-free.
std::atomic<int> received_number{0};
std::array<struct sigaction, kSignals.size()> previous_actions;

void note(int number) {
  // The second Ctrl-C ends the process at once, without destructors, which could take long.
  if (number == SIGINT && received_number.load() == SIGINT) std::_Exit(128 + SIGINT);
  received_number.store(number);
}

}  // namespace

StopSignal::StopSignal() {
  received_number.store(0);
  struct sigaction action{};
  action.sa_handler = note;
  action.sa_flags = SA_RESTART;  // system calls under way go on, so that no read or write fails
  sigemptyset(&action.sa_mask);
  for (size_t i = 0; i < kSignals.size(); ++i) {
    sigaction(kSignals[i].number, &action, &previous_actions[i]);
    // A signal that the parent has this process ignore (nohup: SIGHUP) stays ignored.
    if (previous_actions[i].sa_handler == SIG_IGN)
      sigaction(kSignals[i].number, &previous_actions[i], nullptr);
  }
}

StopSignal::~StopSignal() {
  for (size_t i = 0; i < kSignals.size(); ++i)
    sigaction(kSignals[i].number, &previous_actions[i], nullptr);
}

const char* StopSignal::received() const {
  const int number = received_number.load();
  for (const Watched& watched : kSignals) {
    if (watched.number == number) return watched.name;
  }
  return nullptr;
}

}  // namespace vmla::trainer
