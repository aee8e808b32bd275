#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <memory>

namespace vmla::io {
class FileWriter;
}

namespace vmla::trainer {

/// Writes a video's latents to a safetensors file as they come: `latents` [frames, C, H, W], F32.
/// The file appears, whole, with close().
class LatentWriter {
 public:
  LatentWriter(std::filesystem::path path, int64_t frames);
  /// Without close(): leaves what was at the place before.
  ~LatentWriter();
  LatentWriter(const LatentWriter&) = delete;
  LatentWriter& operator=(const LatentWriter&) = delete;

  /// [F, C, H, W]; every call with the same C, H and W. RunError if the file cannot be written.
  void append(const at::Tensor& latents_FCHW);
  void close();

 private:
  std::filesystem::path path_, unfinished_;
  int64_t frames_, written_ = 0;
  std::unique_ptr<io::FileWriter> file_;
};

}  // namespace vmla::trainer
