#include "model/conversion/side_by_side.h"

#include <ATen/Parallel.h>
#include <ATen/ThreadLocalState.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace vmla::model {
namespace {

/// What the threads share: the next job, and the first exception.
class Jobs {
 public:
  Jobs(int64_t count, const std::function<void(int64_t)>& work) : count_(count), work_(work) {}

  void run() {
    for (int64_t job = next_++; job < count_; job = next_++) {
      try {
        work_(job);
      } catch (...) {
        const std::lock_guard lock(mutex_);
        if (!failure_) failure_ = std::current_exception();
        next_ = count_;
      }
    }
  }

  void rethrow() const {
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  int64_t count_;
  const std::function<void(int64_t)>& work_;
  std::atomic<int64_t> next_ = 0;
  std::mutex mutex_;
  std::exception_ptr failure_;
};

}  // namespace

void side_by_side(int64_t count, const std::function<void(int64_t)>& work) {
  const int threads = at::get_num_threads();
  Jobs jobs(count, work);
  const at::ThreadLocalState state;
  {
    std::vector<std::jthread> others;
    const auto alone = [&] {
      const at::ThreadLocalStateGuard same_modes(state);
      at::set_num_threads(1);  // of this thread, and of threads that start from here on
      jobs.run();
    };
    for (int64_t i = 0; i < std::min<int64_t>(threads, count); ++i) others.emplace_back(alone);
  }
  at::set_num_threads(threads);
  jobs.rethrow();
}

}  // namespace vmla::model
