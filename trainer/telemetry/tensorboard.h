#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace vmla::trainer {

/// Writes scalars that TensorBoard shows: one event file, in TensorFlow's record format, protobuf
/// encoded by hand (event.proto and summary.proto of the TensorFlow project; only the fields used).
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

}  // namespace vmla::trainer
