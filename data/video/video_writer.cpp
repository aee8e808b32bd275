#include "data/video/video_writer.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "data/video/decoder_process.h"
#include "data/video/video_protocol.h"
#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "model/io/file_writer.h"
#include "model/io/program_beside.h"

namespace vmla::data {
namespace fs = std::filesystem;
namespace {

/// An encoder that takes longer to finish a file is killed.
constexpr double kFinishSeconds = 120;

/// Frames a second as a ratio that players recognise: 8 is 8:1, 29.97 is 30000:1001.
std::string fps_ratio(double fps) {
  const double rounded = std::round(fps);
  if (std::abs(fps - rounded) < 1e-9) return formatted("{}:1", static_cast<int64_t>(rounded));
  return formatted("{}:1001", std::llround(fps * 1001));
}

}  // namespace

const char* default_video_extension() {
#ifdef VMLA_HAVE_OPENCV
  static const bool has_opencv = io::find_program_beside("vmla-decode").has_value();
  return has_opencv ? ".mp4" : ".y4m";
#else
  return ".y4m";
#endif
}

std::shared_ptr<ChildProcess> start_video_process() {
  return std::make_shared<ChildProcess>(find_decoder_program());
}

VideoWriter::VideoWriter(fs::path path,
                         double fps,
                         std::shared_ptr<ChildProcess> process,
                         int64_t min_side)
    : path_(std::move(path)), fps_(fps), process_(std::move(process)), min_side_(min_side) {
  TORCH_CHECK(fps > 0, "a video needs frames per second above 0, got ", fps);
  unfinished_ = io::temporary_path(path_);
}

VideoWriter::~VideoWriter() {
  if (!open_) return;
  y4m_.reset();
  std::error_code ignored;
  // The process waits for more frames of this video: nobody else could use it.
  if (process_) process_->kill_and_describe();
  fs::remove(unfinished_, ignored);
}

void VideoWriter::begin(int64_t height, int64_t width) {
  factor_ =
      std::max<int64_t>(1, (min_side_ + std::min(height, width) - 1) / std::min(height, width));
  // 4:2:0 chroma needs even sides; a single odd row or column is left out rather than invented.
  height_ = height * factor_ / 2 * 2;
  width_ = width * factor_ / 2 * 2;
  TORCH_CHECK(
      height_ > 0 && width_ > 0, "a video needs at least 2x2 pixels, got ", height, "x", width);
  std::error_code problem;
  if (!path_.parent_path().empty()) fs::create_directories(path_.parent_path(), problem);
  if (problem) fail_run("cannot write {}: {}", path_.string(), problem.message());
  if (path_.extension() == ".y4m") {
    y4m_ = std::make_unique<io::FileWriter>(unfinished_);
    const std::string header =
        formatted("YUV4MPEG2 W{} H{} F{} Ip A1:1 C444\n", width_, height_, fps_ratio(fps_));
    y4m_->write(header.data(), header.size());
  } else {
    if (!process_) process_ = start_video_process();
    const std::string path = fs::absolute(unfinished_, problem).string();
    if (problem) fail_run("cannot write {}: {}", path_.string(), problem.message());
    const VideoRequest request = {.kind = RequestKind::kWrite,
                                  .path_bytes = static_cast<uint32_t>(path.size()),
                                  .height = static_cast<uint32_t>(height_),
                                  .width = static_cast<uint32_t>(width_),
                                  .fps = fps_,
                                  .max_frames = 0};
    send(&request, sizeof request);
    send(path.data(), path.size());
  }
  open_ = true;
}

void VideoWriter::append(const at::Tensor& frames_F3HW) {
  TORCH_CHECK(frames_F3HW.dim() == 4 && frames_F3HW.size(1) == 3,
              "video frames must be [F, 3, H, W], got ",
              frames_F3HW.sizes());
  if (!open_) begin(frames_F3HW.size(2), frames_F3HW.size(3));
  at::Tensor bytes = frames_F3HW.detach().to(at::kCPU);
  if (bytes.scalar_type() != at::kByte) {
    bytes = bytes.to(at::kFloat).clamp(-1, 1).add(1).mul(127.5).round().to(at::kByte);
  }
  bytes = bytes.repeat_interleave(factor_, 2).repeat_interleave(factor_, 3);
  TORCH_CHECK(bytes.size(2) / 2 * 2 == height_ && bytes.size(3) / 2 * 2 == width_,
              "video frames change their size to ",
              frames_F3HW.sizes());
  bytes = bytes.narrow(2, 0, height_).narrow(3, 0, width_).permute({0, 2, 3, 1}).contiguous();
  for (int64_t f = 0; f < bytes.size(0); ++f) {
    if (y4m_) {
      write_y4m_frame(bytes[f]);
      continue;
    }
    send(&kMore, sizeof kMore);
    send(bytes[f].const_data_ptr(), bytes[f].nbytes());
  }
}

void VideoWriter::send(const void* bytes, size_t count) {
  if (!process_->write(bytes, count)) fail_ended();
}

void VideoWriter::fail_ended() {
  fail_run("cannot write {}: the encoder {}", path_.string(), process_->kill_and_describe());
}

void VideoWriter::write_y4m_frame(const at::Tensor& rgb_HW3) {
  // BT.601, limited range: what readers take an untagged file for.
  const at::Tensor rgb = rgb_HW3.to(at::kFloat).div(255.0);
  const at::Tensor red = rgb.select(2, 0), green = rgb.select(2, 1), blue = rgb.select(2, 2);
  const at::Tensor y = 0.299 * red + 0.587 * green + 0.114 * blue;
  const at::Tensor u = (blue - y) / 1.772, v = (red - y) / 1.402;
  const at::Tensor planes = at::stack({y * 219.0 + 16.0, u * 224.0 + 128.0, v * 224.0 + 128.0})
                                .round()
                                .clamp(0, 255)
                                .to(at::kByte)
                                .contiguous();
  y4m_->write("FRAME\n", 6);
  y4m_->write(planes.const_data_ptr<uint8_t>(), static_cast<size_t>(planes.numel()));
}

void VideoWriter::close() {
  TORCH_CHECK(open_, "a video without frames: ", path_.string());
  if (y4m_) {
    y4m_->close();
  } else {
    send(&kNoMore, sizeof kNoMore);
    double seconds_left = kFinishSeconds;
    const auto receive = [&](void* into, size_t count) {
      if (process_->read(into, count, seconds_left) != ChildProcess::Read::kDone) fail_ended();
    };
    ReplyHeader header = {};
    receive(&header, sizeof header);
    std::string problem(std::min(header.bytes, kMostTextBytes), '\0');
    receive(problem.data(), problem.size());
    if (!problem.empty()) fail_run("cannot write {}: {}", path_.string(), problem);
  }
  open_ = false;
  // Whole or not at all for whoever looks; not flushed to disk, as a lost video can be made again.
  std::error_code problem;
  fs::rename(unfinished_, path_, problem);
  if (problem) fail_run("cannot write {}: {}", path_.string(), problem.message());
}

void write_video(const fs::path& path, const at::Tensor& frames_F3HW, double fps) {
  VideoWriter writer(path, fps);
  writer.append(frames_F3HW);
  writer.close();
}

}  // namespace vmla::data
