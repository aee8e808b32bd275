#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "data/video/decoder_process.h"

namespace vmla::data {

/// How a video is cut into clips.
struct ClipCut {
  int64_t frames = 0;     // of a clip
  int64_t stride = 0;     // between the first frames of two clips
  int64_t max_clips = 0;  // a video; 0: as many as fit
};

/// A clip, or (without pixels) the end of a video and how reading it went.
struct DecodedClip {
  size_t video = 0;         // index of the video it was cut out of
  int64_t first_frame = 0;  // counted at ReadOptions::fps
  int64_t frames = 0, height = 0, width = 0;
  std::vector<uint8_t> rgb_FHW3;  // frames·height·width·3 bytes
  ReadOutcome outcome;            // of the whole video; only at its end
  bool is_end() const { return rgb_FHW3.empty(); }
};

/// Decodes videos on several threads, with a decoder process each, and hands out their clips in the
/// order of the videos, whatever finishes first. A thread runs ahead by `kClipsAhead` clips at
/// most, so memory does not grow with the number of videos. These threads use no LibTorch.
class DecodePool {
 public:
  static constexpr size_t kClipsAhead = 4;

  DecodePool(std::vector<std::filesystem::path> videos,
             const ReadOptions& options,
             const ClipCut& cut,
             int64_t threads,
             const std::filesystem::path& program);
  /// Stops the threads; clips not fetched are dropped.
  ~DecodePool();
  DecodePool(const DecodePool&) = delete;
  DecodePool& operator=(const DecodePool&) = delete;

  /// The next clip or end of a video; false after the last. Rethrows what ended a thread. While it
  /// waits it calls `idle` ten times a second; what that throws ends the wait.
  bool next(DecodedClip& clip, const std::function<void()>& idle = {});

 private:
  struct Lane {
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<DecodedClip> clips;
    std::exception_ptr failure;
    bool stopping = false;
    std::thread thread;
  };
  void decode_lane(size_t lane,
                   const ReadOptions& options,
                   const ClipCut& cut,
                   const std::filesystem::path& program);
  static bool put(Lane& lane, DecodedClip clip);

  std::vector<std::filesystem::path> videos_;
  std::vector<std::unique_ptr<Lane>> lanes_;  // lane l decodes videos l, l + lanes, ...
  size_t current_ = 0;
};

}  // namespace vmla::data
