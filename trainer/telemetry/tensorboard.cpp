#include "trainer/telemetry/tensorboard.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "model/io/error.h"
#include "trainer/telemetry/write_fully.h"

namespace vmla::trainer {
namespace {

// One entry a byte, with CRC-32C's polynomial, bits reversed.
constexpr std::array<uint32_t, 256> make_crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82F63B78u : 0u);
    table[byte] = crc;
  }
  return table;
}
constexpr std::array<uint32_t, 256> kCrcTable = make_crc_table();

template <class T>
void append_little_endian(std::string& out, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) out.push_back(static_cast<char>(value >> (8 * i)));
}

// Protobuf's wire format: a field is a varint key (number << 3 | type) and its value.
enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

void append_varint(std::string& out, uint64_t value) {
  while (value >= 0x80) {
    out.push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

void append_key(std::string& out, uint32_t field, WireType type) {
  append_varint(out, field << 3 | type);
}

void append_bytes(std::string& out, uint32_t field, std::string_view bytes) {
  append_key(out, field, kBytes);
  append_varint(out, bytes.size());
  out += bytes;
}

void append_double(std::string& out, double value) {
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  append_little_endian(out, bits);
}

// Event: wall_time = 1 (double), step = 2 (int64), then one of file_version = 3, summary = 5,
// session_log = 7.
std::string event_head(double wall_time, int64_t step) {
  std::string event;
  append_key(event, 1, kFixed64);
  append_double(event, wall_time);
  append_key(event, 2, kVarint);
  append_varint(event, static_cast<uint64_t>(step));
  return event;
}

// An event whose summary has one value, `point`.
std::string summary_event(double wall_time, int64_t step, std::string_view point) {
  std::string summary;  // Summary: repeated value = 1
  append_bytes(summary, 1, point);
  std::string event = event_head(wall_time, step);
  append_bytes(event, 5, summary);
  return event;
}

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  uint32_t crc = 0xFFFFFFFFu;
  for (const char byte : bytes)
    crc = (crc >> 8) ^ kCrcTable[(crc ^ static_cast<uint8_t>(byte)) & 0xFF];
  return ~crc;
}

uint32_t masked_crc32c(std::string_view bytes) {
  const uint32_t crc = crc32c(bytes);
  return ((crc >> 15) | (crc << 17)) + 0xA282EAD8u;
}

std::string tfrecord(std::string_view data) {
  std::string record;
  append_little_endian(record, static_cast<uint64_t>(data.size()));
  append_little_endian(record, masked_crc32c(record));
  record += data;
  append_little_endian(record, masked_crc32c(data));
  return record;
}

std::string scalar_event(double wall_time, int64_t step, std::string_view tag, float value) {
  std::string point;  // Summary.Value: tag = 1, simple_value = 2, image = 4, histo = 5
  append_bytes(point, 1, tag);
  append_key(point, 2, kFixed32);
  uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  append_little_endian(point, bits);
  return summary_event(wall_time, step, point);
}

std::string image_event(double wall_time,
                        int64_t step,
                        std::string_view tag,
                        const EncodedImage& image) {
  // Summary.Image: height = 1, width = 2, colorspace = 3 (3: RGB), encoded_image_string = 4
  std::string content;
  append_key(content, 1, kVarint);
  append_varint(content, static_cast<uint64_t>(image.height));
  append_key(content, 2, kVarint);
  append_varint(content, static_cast<uint64_t>(image.width));
  append_key(content, 3, kVarint);
  append_varint(content, 3);
  append_bytes(content, 4, image.bytes);
  std::string point;
  append_bytes(point, 1, tag);
  append_bytes(point, 4, content);
  return summary_event(wall_time, step, point);
}

std::string curve_event(double wall_time,
                        int64_t step,
                        std::string_view tag,
                        const std::vector<double>& values) {
  // HistogramProto: min = 1, max = 2, num = 3, sum = 4, sum_squares = 5, and packed: the right edge
  // of each bar (bucket_limit = 6) and what it holds (bucket = 7). The first bar's left edge is
  // min.
  double total = 0, sum = 0, squares = 0;
  std::string limits, buckets;
  for (size_t i = 0; i < values.size(); ++i) {
    const auto at = static_cast<double>(i + 1);
    total += values[i];
    sum += values[i] * at;
    squares += values[i] * at * at;
    append_double(limits, at + 0.5);
    append_double(buckets, values[i]);
  }
  std::string content;
  uint32_t field = 1;
  for (const double number : {0.5, static_cast<double>(values.size()) + 0.5, total, sum, squares}) {
    append_key(content, field++, kFixed64);
    append_double(content, number);
  }
  append_bytes(content, 6, limits);
  append_bytes(content, 7, buckets);
  std::string point;
  append_bytes(point, 1, tag);
  append_bytes(point, 5, content);
  return summary_event(wall_time, step, point);
}

TensorboardWriter::TensorboardWriter(const std::filesystem::path& dir) {
  std::error_code error;
  std::filesystem::create_directories(dir, error);
  if (error) fail_run("{}: cannot make this folder: {}", dir.string(), error.message());
  const auto seconds = static_cast<int64_t>(now_seconds());
  // TensorBoard reads a folder's files in the order of their names, so the time comes first; the
  // number tells files of one second and process apart.
  for (int number = 0; fd_ < 0; ++number) {
    path_ = dir / formatted("events.out.tfevents.{}.vmla.{}.{}", seconds, ::getpid(), number);
    fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd_ < 0 && errno != EEXIST) {
      fail_run("{}: cannot create this file: {}", path_.string(), std::strerror(errno));
    }
  }
  std::string version = event_head(now_seconds(), 0);
  append_bytes(version, 3, "brain.Event:2");
  buffer_ += tfrecord(version);
  flush();
}

TensorboardWriter::~TensorboardWriter() {
  if (fd_ < 0) return;
  try {
    flush();
  } catch (const RunError&) {  // a destructor can tell nobody
  }
  ::close(fd_);
}

void TensorboardWriter::scalar(std::string_view tag, int64_t step, double value) {
  buffer_ += tfrecord(scalar_event(now_seconds(), step, tag, static_cast<float>(value)));
}

void TensorboardWriter::image(std::string_view tag, int64_t step, const EncodedImage& image) {
  buffer_ += tfrecord(image_event(now_seconds(), step, tag, image));
}

void TensorboardWriter::curve(std::string_view tag,
                              int64_t step,
                              const std::vector<double>& values) {
  if (!values.empty()) buffer_ += tfrecord(curve_event(now_seconds(), step, tag, values));
}

void TensorboardWriter::restart_at(int64_t step) {
  std::string session;  // SessionLog: status = 1, START = 1
  append_key(session, 1, kVarint);
  append_varint(session, 1);
  std::string event = event_head(now_seconds(), step);
  append_bytes(event, 7, session);
  buffer_ += tfrecord(event);
}

void TensorboardWriter::flush() {
  write_fully(fd_, buffer_, path_);
  buffer_.clear();
}

}  // namespace vmla::trainer
