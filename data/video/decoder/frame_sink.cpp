#include "data/video/decoder/frame_sink.h"

#ifdef VMLA_HAVE_OPENCV
#include <filesystem>
#include <opencv2/core.hpp>
#include <opencv2/videoio.hpp>
#endif
#include "model/io/error.h"

namespace vmla::data {

#ifdef VMLA_HAVE_OPENCV
namespace {

int codec_of(const std::string& path) {
  const std::string extension = std::filesystem::path(path).extension().string();
  if (extension == ".mp4" || extension == ".mkv")
    return cv::VideoWriter::fourcc('a', 'v', 'c', '1');
  if (extension == ".avi") return cv::VideoWriter::fourcc('M', 'J', 'P', 'G');
  if (extension == ".webm") return cv::VideoWriter::fourcc('V', 'P', '8', '0');
  fail_user("videos are written as .mp4, .mkv, .avi, .webm or .y4m, not {}", extension);
}

class OpenCvSink final : public FrameSink {
 public:
  OpenCvSink(const std::string& path, int height, int width, double fps)
      : path_(path),
        picture_(height, width, CV_8UC3),
        writer_(path, cv::CAP_FFMPEG, codec_of(path), fps, cv::Size(width, height)) {
    if (!writer_.isOpened()) fail_run("OpenCV's FFmpeg cannot open it for writing");
  }

  void append(const uint8_t* rgb_HW3) override {
    uint8_t* blue_first = picture_.data;
    for (size_t i = 0; i < picture_.total() * 3; i += 3) {
      blue_first[i] = rgb_HW3[i + 2];
      blue_first[i + 1] = rgb_HW3[i + 1];
      blue_first[i + 2] = rgb_HW3[i];
    }
    writer_.write(picture_);
    ++frames_;
  }

  /// OpenCV does not report failed writes (a full disk), so the finished file is asked what it
  /// holds.
  void close() override {
    writer_.release();
    cv::VideoCapture check(path_, cv::CAP_FFMPEG);
    const double found = check.isOpened() ? check.get(cv::CAP_PROP_FRAME_COUNT) : 0;
    if (found + 0.5 < static_cast<double>(frames_)) {
      fail_run("only {:g} of {} frames reached the file; is the disk full?", found, frames_);
    }
  }

 private:
  std::string path_;
  cv::Mat picture_;
  cv::VideoWriter writer_;
  int64_t frames_ = 0;
};

}  // namespace

std::unique_ptr<FrameSink> open_frame_sink(const std::string& path,
                                           int height,
                                           int width,
                                           double fps) {
  return std::make_unique<OpenCvSink>(path, height, width, fps);
}
#else
std::unique_ptr<FrameSink> open_frame_sink(const std::string& path, int, int, double) {
  fail_user("this build has no OpenCV and writes videos as .y4m only, not {}", path);
}
#endif

}  // namespace vmla::data
