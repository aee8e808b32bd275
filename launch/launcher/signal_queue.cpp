#include "launch/launcher/signal_queue.h"

#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "model/io/error.h"

namespace vmla::launch {

std::string signal_name(int number) {
  const char* const abbreviation = sigabbrev_np(number);
  return abbreviation == nullptr ? formatted("signal {}", number)
                                 : formatted("SIG{}", abbreviation);
}

SignalQueue::SignalQueue() {
  sigset_t queued;
  sigemptyset(&queued);
  sigaddset(&queued, SIGCHLD);
  for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1}) {
    struct sigaction action{};
    sigaction(number, nullptr, &action);
    // Once blocked, an ignored signal would be queued all the same.
    if (action.sa_handler != SIG_IGN) sigaddset(&queued, number);
  }
  sigprocmask(SIG_BLOCK, &queued, &previous_);
  std::signal(SIGPIPE, SIG_IGN);
  fd_ = signalfd(-1, &queued, SFD_NONBLOCK | SFD_CLOEXEC);
  if (fd_ < 0) fail_run("cannot receive signals: {}", std::strerror(errno));
}

SignalQueue::~SignalQueue() {
  close(fd_);
  sigprocmask(SIG_SETMASK, &previous_, nullptr);
}

std::vector<int> SignalQueue::take() {
  std::vector<int> out;
  signalfd_siginfo info{};
  while (read(fd_, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
    if (info.ssi_signo != SIGCHLD) out.push_back(static_cast<int>(info.ssi_signo));
  }
  return out;
}

void SignalQueue::restore() const {
  std::signal(SIGPIPE, SIG_DFL);
  sigprocmask(SIG_SETMASK, &previous_, nullptr);
}

}  // namespace vmla::launch
