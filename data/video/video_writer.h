#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <memory>

namespace vmla::io {
class FileWriter;
}

namespace vmla::data {

class ChildProcess;

/// ".mp4", or ".y4m" where OpenCV is not there: in a build without it, and without vmla-decode
/// beside the program.
const char* default_video_extension();

/// Starts a child process that encodes videos; several VideoWriters may use it one after another.
std::shared_ptr<ChildProcess> start_video_process();

/// Writes a video as its frames come. vmla-decode encodes H.264 that browsers play in .mp4 and
/// .mkv, Motion JPEG in .avi, VP8 in .webm; .y4m is written here, uncompressed. Pictures smaller
/// than `min_side` are enlarged by a whole factor, each pixel repeated: H.264 ruins 16x16, and a
/// resize back to 16x16 returns the pixels. The file appears under its name, complete, with
/// close(); until then it is a temporary beside it (model/io/atomic_file.h).
class VideoWriter {
 public:
  /// `process` is used until close(); nullptr: the writer starts one of its own where it needs one.
  VideoWriter(std::filesystem::path path,
              double fps,
              std::shared_ptr<ChildProcess> process = nullptr,
              int64_t min_side = 128);
  /// Without close(): leaves what was at the place before.
  ~VideoWriter();
  VideoWriter(const VideoWriter&) = delete;
  VideoWriter& operator=(const VideoWriter&) = delete;

  /// [F, 3, H, W] in [-1, 1] (clamped), or the same as bytes; every call with the same H and W.
  /// RunError if the file cannot be written, UserError if its extension is unknown to this build.
  void append(const at::Tensor& frames_F3HW);
  void close();

 private:
  void begin(int64_t height, int64_t width);
  void write_y4m_frame(const at::Tensor& rgb_HW3);
  /// To the child process; RunError, with how it ended, if it is gone.
  void send(const void* bytes, size_t count);
  [[noreturn]] void fail_ended();

  std::filesystem::path path_, unfinished_;
  double fps_;
  std::shared_ptr<ChildProcess> process_;
  std::unique_ptr<io::FileWriter> y4m_;
  int64_t min_side_;
  int64_t factor_ = 1;
  int64_t height_ = 0, width_ = 0;  // of the file
  bool open_ = false;
};

/// One call for a whole clip: [F, 3, H, W], fp32 in [-1, 1].
void write_video(const std::filesystem::path& path, const at::Tensor& frames_F3HW, double fps);

}  // namespace vmla::data
