#pragma once

#include <functional>
#include <future>
#include <memory>
#include <thread>

#include "trainer/distributed/job/clock.h"

namespace vmla::distributed {

/// Runs calls one after another on a thread of its own, for a caller who waits only so long: for
/// calls into libraries that may never return, such as one to a server that is stopped.
///
/// A call that is given up cannot be ended. The thread stays in it, takes no more calls, and goes
/// on alone when this object is destroyed; so a call owns whatever it uses. One thread at a time
/// may use the object.
class AbandonableThread {
 public:
  AbandonableThread();
  /// Joins the thread, unless a call was given up.
  ~AbandonableThread();
  AbandonableThread(const AbandonableThread&) = delete;
  AbandonableThread& operator=(const AbandonableThread&) = delete;

  /// What `call` returned or threw, as a future that is ready. A future that is not valid() when it
  /// has not ended after `limit_seconds`, and at once when a call before it was given up.
  template <class Result>
  std::future<Result> run(std::function<Result()> call, double limit_seconds) {
    if (stuck_) return {};
    // Shared, because std::function copies what it holds.
    auto task = std::make_shared<std::packaged_task<Result()>>(std::move(call));
    std::future<Result> result = task->get_future();
    post([task] { (*task)(); });
    stuck_ = result.wait_for(milliseconds(limit_seconds)) != std::future_status::ready;
    return stuck_ ? std::future<Result>() : std::move(result);
  }

 private:
  struct Queue;  // what the thread and this object share; the last of them destroys it
  void post(std::function<void()> work);

  std::shared_ptr<Queue> queue_;
  std::thread thread_;
  bool stuck_ = false;
};

}  // namespace vmla::distributed
