#include "data/video/video_looks.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>

namespace vmla::data {
namespace {

/// What the threads share. The lock covers all of it.
struct Looks {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<VideoLook> found;
  size_t next = 0, done = 0;
  bool stopping = false;
  std::exception_ptr failure;
};

void look_in_turn(Looks& looks,
                  const std::vector<std::filesystem::path>& videos,
                  double time_limit_seconds,
                  const std::filesystem::path& program) {
  std::unique_lock lock(looks.mutex);
  try {
    DecoderProcess decoder(program);
    while (!looks.stopping && looks.next < videos.size()) {
      const size_t video = looks.next++;
      lock.unlock();
      VideoLook look = decoder.look(videos[video], time_limit_seconds);
      lock.lock();
      looks.found[video] = std::move(look);
      ++looks.done;
      looks.changed.notify_all();
    }
  } catch (...) {
    if (!lock.owns_lock()) lock.lock();
    looks.failure = std::current_exception();
    looks.stopping = true;
    looks.changed.notify_all();
  }
}

}  // namespace

std::vector<VideoLook> look_at_videos(const std::vector<std::filesystem::path>& videos,
                                      int64_t threads,
                                      double time_limit_seconds,
                                      const std::filesystem::path& program,
                                      const std::function<void(size_t done)>& idle) {
  Looks looks;
  looks.found.resize(videos.size());
  std::vector<std::jthread> lanes;  // joined before `looks` goes
  const auto most = std::max<int64_t>(1, static_cast<int64_t>(videos.size()));
  for (int64_t i = 0; i < std::clamp<int64_t>(threads, 1, most); ++i) {
    lanes.emplace_back([&] { look_in_turn(looks, videos, time_limit_seconds, program); });
  }
  std::unique_lock lock(looks.mutex);
  while (!looks.changed.wait_for(lock, std::chrono::milliseconds(100), [&] {
    return looks.done == videos.size() || looks.failure;
  })) {
    const size_t done = looks.done;
    lock.unlock();
    try {
      idle(done);
    } catch (...) {
      lock.lock();
      looks.stopping = true;
      throw;
    }
    lock.lock();
  }
  if (looks.failure) std::rethrow_exception(looks.failure);
  return std::move(looks.found);
}

}  // namespace vmla::data
