#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "data/video/video_protocol.h"

namespace vmla::data {

/// Where the program vmla-decode is: beside this program, or in the folder above it. RunError if in
/// neither.
std::filesystem::path find_decoder_program();

/// A child process with pipes on its stdin and stdout. The destructor kills it.
class ChildProcess {
 public:
  explicit ChildProcess(const std::filesystem::path& program);
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  /// False when the child is gone.
  bool write(const void* bytes, size_t count);
  enum class Read { kDone, kClosed, kTimeout };
  /// Reads exactly `count` bytes; the time spent waiting is taken off `seconds_left`.
  Read read(void* into, size_t count, double& seconds_left);
  /// Kills the child if it still runs, waits for it, and says in words how it ended.
  std::string kill_and_describe();

 private:
  pid_t pid_ = -1;
  int to_child_ = -1;
  int from_child_ = -1;
};

/// What a video becomes.
struct ReadOptions {
  int64_t height = 0, width = 0;
  double fps = 0;
  int64_t max_frames = 0;           // 0: all
  double time_limit_seconds = 120;  // of waiting for the decoder, a video
};

/// How reading a video went.
struct ReadOutcome {
  bool opened = false;
  int64_t frames = 0;
  std::string problem;  // empty: the whole video was read
};

/// Decodes videos one after another in a child process, started when needed and again after it
/// died: a decoder that crashes, hangs or babbles costs the video it was at, nothing else. Not
/// thread-safe: one a thread.
class DecoderProcess {
 public:
  explicit DecoderProcess(std::filesystem::path program);
  ~DecoderProcess();

  /// Receives frame `index`, [height, width, 3] bytes RGB, valid during the call; false stops
  /// reading.
  using FrameSink = std::function<bool(int64_t index, const uint8_t* rgb_HW3)>;
  ReadOutcome read(const std::filesystem::path& video,
                   const ReadOptions& options,
                   const FrameSink& sink);

 private:
  ReadOutcome receive(const ReadOptions& options, const FrameSink& sink);

  std::filesystem::path program_;
  std::unique_ptr<ChildProcess> child_;
  std::vector<uint8_t> frame_;
};

}  // namespace vmla::data
