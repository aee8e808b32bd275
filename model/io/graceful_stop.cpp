#include "data/encode/graceful_stop.h"

#include <semaphore.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <utility>

#include "model/io/error.h"
#include "model/io/exit_status.h"
#include "model/io/log.h"

namespace vmla::data {
namespace {

using namespace std::chrono_literals;

// The job's thread has this long to come to a place where it can stop, and then to unwind.
constexpr auto kUntilPlace = 1000ms, kUntilUnwound = 700ms;

constexpr std::array<std::pair<int, const char*>, 5> kSignals = {{{SIGINT, "SIGINT"},
                                                                  {SIGTERM, "SIGTERM"},
                                                                  {SIGHUP, "SIGHUP"},
                                                                  {SIGQUIT, "SIGQUIT"},
                                                                  {SIGUSR1, "SIGUSR1"}}};

// A signal handler reaches nothing but globals, and may touch only what is lock-free.
std::atomic<int> received{0};
std::array<struct sigaction, kSignals.size()> before;
sem_t wake;  // the watcher

void note(int number) {
  if (received.exchange(number) == SIGINT && number == SIGINT) std::_Exit(128 + SIGINT);
  const int saved_errno = errno;
  sem_post(&wake);
  errno = saved_errno;
}

std::string stopped_by(const std::string& saved) {
  for (const auto& [number, name] : kSignals) {
    if (number == received.load()) return formatted("{}: {}", name, saved);
  }
  return saved;
}

}  // namespace

GracefulStop::GracefulStop(Save save) : save_(std::move(save)) {
  received.store(0);
  sem_init(&wake, 0, 0);
  watcher_ = std::thread([this] { watch(); });
  struct sigaction action{};
  action.sa_handler = note;
  action.sa_flags = SA_RESTART;  // reads and writes under way go on
  sigemptyset(&action.sa_mask);
  for (size_t i = 0; i < kSignals.size(); ++i) {
    sigaction(kSignals[i].first, &action, &before[i]);
    // A signal that the parent has this process ignore (nohup: SIGHUP) stays ignored.
    if (before[i].sa_handler == SIG_IGN) sigaction(kSignals[i].first, &before[i], nullptr);
  }
}

GracefulStop::~GracefulStop() {
  for (size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i].first, &before[i], nullptr);
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    changed_.notify_all();
  }
  sem_post(&wake);
  watcher_.join();
  sem_destroy(&wake);
}

bool GracefulStop::is_asked() {
  return received.load() != 0;
}

void GracefulStop::check() {
  if (!is_asked()) return;
  {
    std::unique_lock lock(mutex_);
    // The watcher was faster: it ends the process, and nothing may change meanwhile.
    if (taken_) changed_.wait(lock, [] { return false; });
    taken_ = true;
    changed_.notify_all();
  }
  const std::string saved = save_();
  {
    const std::lock_guard lock(mutex_);
    saved_ = true;
    what_ = saved;
    changed_.notify_all();
  }
  throw StopRequested(stopped_by(saved));
}

void GracefulStop::watch() {
  while (sem_wait(&wake) != 0 && errno == EINTR) {
  }
  {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kUntilPlace, [&] { return taken_ || ended_; });
    if (taken_) {
      changed_.wait(lock, [&] { return saved_ || ended_; });
      changed_.wait_for(lock, kUntilUnwound, [&] { return ended_; });
    }
    if (ended_) return;
    if (taken_) {
      log::warn("vmla: stopped: {}", stopped_by(what_));
      std::_Exit(kStopped);
    }
    taken_ = true;
  }
  // The job's thread computes on; it is not asked any more.
  try {
    log::warn("vmla: stopped: {}", stopped_by(save_()));
    std::_Exit(kStopped);
  } catch (const std::exception& error) {
    log::error("vmla: error: {}", error.what());
    std::_Exit(kFault);
  }
}

}  // namespace vmla::data
