#include "model/io/graceful_stop.h"

#include <semaphore.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "model/io/error.h"
#include "model/io/exit_status.h"
#include "model/io/log.h"

namespace vmla::io {
namespace {

using namespace std::chrono_literals;

// The job's thread has this long to come to a place where it can stop, and then to unwind.
constexpr auto kUntilPlace = 1000ms, kUntilUnwound = 700ms;
// How often the watcher looks whether a part of the job has begun that may be ended.
constexpr auto kBetweenLooks = 50ms;

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

void take_signals() {
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

void give_back_signals() {
  for (size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i].first, &before[i], nullptr);
}

std::string stopped_by(const std::string& saved) {
  const char* const name = GracefulStop::signal_name();
  return formatted("{}: {}", name != nullptr ? name : "a signal to another rank", saved);
}

}  // namespace

/// What all objects of the process share, and the thread that ends a job which does not look.
class StopWatch {
 public:
  static StopWatch& of_process() {
    static StopWatch watch;
    return watch;
  }

  void enter(GracefulStop* job) {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(job);
    if (jobs_.size() > 1) return;
    received.store(0);
    taken_by_ = Taker::kNobody;
    saved_ = false;
    sem_init(&wake, 0, 0);
    watcher_ = std::thread([this] { watch(); });
    take_signals();
  }

  void leave(GracefulStop* job) {
    bool was_last = false;
    {
      std::unique_lock lock(mutex_);
      wait_for_end_by_watcher(lock);
      std::erase(jobs_, job);
      was_last = jobs_.empty();
      if (was_last) give_back_signals();
      changed_.notify_all();
    }
    if (!was_last) return;
    sem_post(&wake);
    watcher_.join();
    sem_destroy(&wake);
    received.store(0);
  }

  [[noreturn]] void end_by_job(const GracefulStop::Save& save, bool in_time) {
    {
      std::unique_lock lock(mutex_);
      wait_for_end_by_watcher(lock);
      if (taken_by_ != Taker::kNobody) {  // another thread of the job came first
        changed_.wait(lock, [&] { return saved_; });
        throw StopRequested(what_);
      }
      taken_by_ = in_time ? Taker::kJob : Taker::kJobOfManyRanks;
      changed_.notify_all();
    }
    const std::string words = stopped_by(save());
    {
      const std::lock_guard lock(mutex_);
      saved_ = true;
      what_ = words;
      changed_.notify_all();
    }
    throw StopRequested(words);
  }

 private:
  /// Who saves, or has saved.
  enum class Taker { kNobody, kJob, kJobOfManyRanks, kWatcher };

  /// The watcher ends the process, and nothing may change meanwhile.
  void wait_for_end_by_watcher(std::unique_lock<std::mutex>& lock) {
    while (taken_by_ == Taker::kWatcher) changed_.wait(lock);
  }

  void watch() {
    while (sem_wait(&wake) != 0 && errno == EINTR) {
    }
    std::unique_lock lock(mutex_);
    auto deadline = std::chrono::steady_clock::now() + kUntilPlace;
    while (taken_by_ == Taker::kNobody && !jobs_.empty()) {
      const auto now = std::chrono::steady_clock::now();
      // A part that ends by itself may leave by an error, which must get out to be reported.
      if (!jobs_.back()->save_) deadline = now + kUntilPlace;
      if (now >= deadline) {
        taken_by_ = Taker::kWatcher;
      } else {
        changed_.wait_for(lock, kBetweenLooks);
      }
    }
    const auto over = [&] { return jobs_.empty(); };
    if (taken_by_ == Taker::kJob) {
      changed_.wait(lock, [&] { return saved_ || over(); });
      if (changed_.wait_for(lock, kUntilUnwound, over)) return;
      log::warn("vmla: stopped: {}", what_);
      std::_Exit(kStopped);
    }
    if (taken_by_ != Taker::kWatcher) return;
    const GracefulStop::Save save = jobs_.back()->save_;
    lock.unlock();
    // The job's thread computes on; it is not asked any more.
    try {
      log::warn("vmla: stopped: {}", stopped_by(save()));
      std::_Exit(kStopped);
    } catch (const std::exception& error) {
      log::error("vmla: error: {}", error.what());
      std::_Exit(kFault);
    }
  }

  std::mutex mutex_;  // of what is below
  std::condition_variable changed_;
  std::vector<GracefulStop*> jobs_;  // the innermost is the last
  Taker taken_by_ = Taker::kNobody;
  bool saved_ = false;
  std::string what_;  // was saved
  std::thread watcher_;
};

GracefulStop::GracefulStop(Save save) : save_(std::move(save)) {
  StopWatch::of_process().enter(this);
}

GracefulStop::~GracefulStop() {
  StopWatch::of_process().leave(this);
}

bool GracefulStop::is_asked() {
  return received.load() != 0;
}

const char* GracefulStop::signal_name() {
  for (const auto& [number, name] : kSignals) {
    if (number == received.load()) return name;
  }
  return nullptr;
}

void GracefulStop::check() {
  if (is_asked()) StopWatch::of_process().end_by_job(save_, /*in_time=*/true);
}

void GracefulStop::stop(const std::string& saved) {
  StopWatch::of_process().end_by_job([&] { return saved; }, /*in_time=*/false);
}

}  // namespace vmla::io
