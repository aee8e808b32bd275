#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace vmla::trainer {

/// A picture in the bytes of its file.
struct EncodedImage {
  int64_t width = 0, height = 0;
  std::string bytes;  // of a GIF, PNG or JPEG file
};

/// Writes scalars, curves and animations that TensorBoard shows: one event file, in TensorFlow's
/// record format, protobuf encoded by hand (event.proto and summary.proto of the TensorFlow
/// project; only the fields used).
class TensorboardWriter {
 public:
  /// Starts a new event file in `dir` (made if missing). RunError names the file on any fault.
  explicit TensorboardWriter(const std::filesystem::path& dir);
  /// Writes what is buffered; a fault of that is lost, so call flush() first.
  ~TensorboardWriter();
  TensorboardWriter(const TensorboardWriter&) = delete;
  TensorboardWriter& operator=(const TensorboardWriter&) = delete;

  /// Adds one point (fp32 in the file) with the time of day to the buffer.
  void scalar(std::string_view tag, int64_t step, double value);
  /// Adds an animation (trainer/telemetry/gif.h) of `width` x `height` pixels, for the image page.
  void image(std::string_view tag, int64_t step, const EncodedImage& image);
  /// Adds `values`, none below 0, as a histogram whose bar i + 1 is values[i]: TensorBoard then
  /// shows how a curve over an index changes from step to step. Nothing for an empty curve.
  void curve(std::string_view tag, int64_t step, const std::vector<double>& values);
  /// Tells TensorBoard to forget what earlier event files of `dir` say from `step` on: the run was
  /// resumed there.
  void restart_at(int64_t step);
  /// Writes what is buffered: it has reached the operating system. RunError.
  void flush();

  const std::filesystem::path& file() const { return path_; }

 private:
  std::filesystem::path path_;
  int fd_ = -1;
  std::string buffer_;
};

/// CRC-32C (Castagnoli) of `bytes`, and the masked form that record files store.
uint32_t crc32c(std::string_view bytes);
uint32_t masked_crc32c(std::string_view bytes);

/// One record: length, its masked CRC, the data, their masked CRC; little-endian.
std::string tfrecord(std::string_view data);

/// An Event message with one scalar.
std::string scalar_event(double wall_time, int64_t step, std::string_view tag, float value);

/// An Event message with one image, or with one histogram as TensorboardWriter::curve describes it.
std::string image_event(double wall_time,
                        int64_t step,
                        std::string_view tag,
                        const EncodedImage& image);
std::string curve_event(double wall_time,
                        int64_t step,
                        std::string_view tag,
                        const std::vector<double>& values);

}  // namespace vmla::trainer
