#pragma once

#include <c10/core/Stream.h>

#include <functional>
#include <future>
#include <optional>

namespace vmla::trainer {

/// Work that goes on beside the calling thread, one piece after another: on a thread of its own,
/// and on a GPU in a stream of its own. Without gradients. What a piece reads on the GPU must be
/// there before it is started, and what it hands out must be on the host.
class BesideWork {
 public:
  /// `beside`: false runs each piece at once, on the calling thread. `stream`: on a GPU, the same
  /// for all work of a kind, for memory that is freed in a stream is given out again in it alone.
  BesideWork(bool beside, std::optional<c10::Stream> stream) : beside_(beside), stream_(stream) {}
  /// Waits for the last piece, and drops its error: a future of std::async does.
  ~BesideWork() = default;
  BesideWork(const BesideWork&) = delete;
  BesideWork& operator=(const BesideWork&) = delete;

  /// Waits for the piece before, then starts this one. Throws what the piece before has thrown.
  void start(std::function<void()> work);
  /// Waits for the last piece; throws what it has thrown.
  void finish();
  /// Throws what the last piece has thrown, if it has ended; does not wait.
  void throw_if_failed();

 private:
  bool beside_;
  std::optional<c10::Stream> stream_;
  std::future<void> running_;
};

}  // namespace vmla::trainer
