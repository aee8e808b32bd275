#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <memory>

namespace vmla::io {
class FileWriter;
}

namespace vmla::trainer {

/// Writes a video's latents to a safetensors file chunk by chunk, so that memory does not grow with
/// the video: one tensor `latents` [frames, C, H, W], F32. The number of frames is known
/// beforehand, for the header stands in front. The file appears under its name, whole, with
/// close().
class LatentWriter {
 public:
  /// `frames`: how many will be appended in all.
  LatentWriter(std::filesystem::path path, int64_t frames);
  /// Without close(): removes the unfinished file and leaves what was at `path` before.
  ~LatentWriter();
  LatentWriter(const LatentWriter&) = delete;
  LatentWriter& operator=(const LatentWriter&) = delete;

  /// [F, C, H, W]; every call with the same C, H and W. RunError if the file cannot be written.
  void append(const at::Tensor& latents_FCHW);
  /// After the last frame. RunError if the file cannot be put in its place.
  void close();

 private:
  std::filesystem::path path_, unfinished_;
  int64_t frames_, written_ = 0;
  std::unique_ptr<io::FileWriter> file_;
};

}  // namespace vmla::trainer
