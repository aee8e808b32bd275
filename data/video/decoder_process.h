#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "data/video/child_process.h"
#include "data/video/video_protocol.h"

namespace vmla::data {

/// Where the program vmla-decode is: beside this program, or in the folder above it; where it is
/// left out, as in a bundle (launch/bundle), vmla-decode-y4m, the same without OpenCV. RunError if
/// there is neither.
std::filesystem::path find_decoder_program();

/// What a video becomes.
struct ReadOptions {
  int64_t height = 0, width = 0;    // pixels: resized to cover them, the middle cut out
  double fps = 0;                   // resampled in time
  int64_t max_frames = 0;           // 0: all
  double time_limit_seconds = 120;  // of waiting for the decoder, all frames of a video together
};

/// How reading a video went.
struct ReadOutcome {
  int64_t frames = 0;   // that were handed out
  std::string problem;  // empty: the whole video was read
};

/// What a video says of itself before a picture is decoded.
struct VideoLook {
  VideoInfo info{};
  std::string problem;  // empty: `info` is known
};

/// Decodes videos one after another in a child process (data/video/video_protocol.h), started when
/// needed and again after it died: a decoder that crashes, hangs or sends garbage costs the video
/// it was at, nothing else. Not thread-safe: one a thread.
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
  /// Decodes nothing. `time_limit_seconds`: of waiting for the decoder.
  VideoLook look(const std::filesystem::path& video, double time_limit_seconds);

 private:
  ReadOutcome ask(RequestKind kind,
                  const std::filesystem::path& video,
                  const ReadOptions& options,
                  VideoInfo& info,
                  const FrameSink& sink);
  ReadOutcome receive(const ReadOptions& options, VideoInfo& info, const FrameSink& sink);

  std::filesystem::path program_;
  std::unique_ptr<ChildProcess> child_;
  std::vector<uint8_t> frame_;
};

}  // namespace vmla::data
