#include "trainer/distributed/job/abandonable_thread.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <utility>

namespace vmla::distributed {

struct AbandonableThread::Queue {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::function<void()>> work;
  bool ended = false;

  /// The thread: until the queue has ended and everything in it is done.
  void run() {
    std::unique_lock lock(mutex);
    while (true) {
      changed.wait(lock, [&] { return ended || !work.empty(); });
      if (work.empty()) return;
      const auto next = std::move(work.front());
      work.pop_front();
      lock.unlock();
      next();
      lock.lock();
    }
  }
};

AbandonableThread::AbandonableThread()
    : queue_(std::make_shared<Queue>()), thread_([queue = queue_] { queue->run(); }) {}

AbandonableThread::~AbandonableThread() {
  {
    const std::scoped_lock lock(queue_->mutex);
    queue_->ended = true;
  }
  queue_->changed.notify_all();
  stuck_ ? thread_.detach() : thread_.join();
}

void AbandonableThread::post(std::function<void()> work) {
  {
    const std::scoped_lock lock(queue_->mutex);
    queue_->work.push_back(std::move(work));
  }
  queue_->changed.notify_all();
}

}  // namespace vmla::distributed
