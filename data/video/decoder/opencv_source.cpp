#include <array>
#include <cmath>
#include <cstdlib>
#include <opencv2/core.hpp>
#include <opencv2/videoio.hpp>
#include <utility>

#include "data/video/decoder/complaints.h"
#include "data/video/decoder/frame_source.h"
#include "model/io/error.h"

namespace vmla::data {
namespace {

/// One for the process, as stderr is.
Complaints& complaints() {
  static Complaints caught;
  return caught;
}

/// Degrees that a picture has to be turned clockwise to be upright: 0, 90, 180 or 270. OpenCV 4.6
/// has the sign wrong (opencv issue 22088), in what it reports and in what it does by itself, so
/// turning is done here.
int clockwise_turn(const cv::VideoCapture& capture) {
  const int reported = static_cast<int>(std::lround(capture.get(cv::CAP_PROP_ORIENTATION_META)));
  const bool wrong_sign = cv::getVersionMajor() == 4 && cv::getVersionMinor() == 6;
  return ((wrong_sign ? -reported : reported) % 360 + 360) % 360;
}

/// Confines FFmpeg to single files: some of its demuxers (hls, concat, dash, image2, ...) open what
/// a file names, on this machine or elsewhere, and a file can pass for them whatever its name is.
/// Also takes back what the user's environment asks of it: more log lines would look like
/// complaints.
void confine_ffmpeg() {
  setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS",
         "protocol_whitelist;file|format_whitelist;"
         "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif,mpegts,mpeg,mpegvideo,flv,asf,ogg,mxf,ivf,"
         "nut",
         /*overwrite=*/1);
  for (const char* name : {"OPENCV_FFMPEG_DEBUG", "OPENCV_FFMPEG_LOGLEVEL"}) unsetenv(name);
}

/// mp4, avi, webm, mkv and whatever else OpenCV's FFmpeg reads, turned upright as the file says.
class OpenCvSource final : public FrameSource {
 public:
  OpenCvSource(const std::string& path, const FileHead& head) : head_(head) {
    confine_ffmpeg();
    complaints().clear();
    // FFmpeg alone: the other backends would take numbered images and devices for videos.
    if (!capture_.open(path, cv::CAP_FFMPEG) || !capture_.isOpened()) {
      const std::string reason = complaints().first();
      if (reason.find("not on whitelist") != std::string::npos) {
        fail_user("no container of videos ({})", reason.substr(0, reason.find(':')));
      }
      fail_user("not a video that can be read{}", reason.empty() ? "" : " (" + reason + ")");
    }
    capture_.set(cv::CAP_PROP_ORIENTATION_AUTO, 0);
    turn_ = clockwise_turn(capture_);
    info_.width = static_cast<uint32_t>(std::max(0.0, capture_.get(cv::CAP_PROP_FRAME_WIDTH)));
    info_.height = static_cast<uint32_t>(std::max(0.0, capture_.get(cv::CAP_PROP_FRAME_HEIGHT)));
    info_.fps = capture_.get(cv::CAP_PROP_FPS);
    const double count = capture_.get(cv::CAP_PROP_FRAME_COUNT);
    if (info_.fps > 0 && count > 0) info_.seconds = count / info_.fps;
    // Where the container does not count its pictures, OpenCV makes a count of how long it lasts,
    // and that includes sound that goes on after the last picture.
    counts_pictures_ = head.kind == FileHead::Kind::kMp4 || head.kind == FileHead::Kind::kAvi ||
                       head.kind == FileHead::Kind::kMxf;
    const double numerator = capture_.get(cv::CAP_PROP_SAR_NUM);
    const double denominator = capture_.get(cv::CAP_PROP_SAR_DEN);
    if (numerator > 0 && denominator > 0) pixel_aspect_ = numerator / denominator;
    if (turn_ % 180 == 90) {
      pixel_aspect_ = 1 / pixel_aspect_;
      std::swap(info_.width, info_.height);
    }
    if (info_.fps > 0 && info_.fps <= 1000) interval_ = 1 / info_.fps;
  }

  VideoInfo info() const override { return info_; }
  double pixel_aspect() const override { return pixel_aspect_; }

  bool next(SourceFrame& frame) override {
    if (!damage_.empty()) return false;
    cv::Mat& picture = buffers_[frames_ % 2];
    bool read = false;
    try {
      read = capture_.read(picture) && !picture.empty();
    } catch (const cv::Exception& error) {
      damage_ = error.err;
    }
    // FFmpeg's threads complain about a damaged picture before it comes out, so this one may be
    // damaged, and those handed out before are sound.
    if (damage_.empty()) damage_ = complaints().first();
    if (!read || !damage_.empty()) {
      check_length();
      return false;
    }
    if (picture.type() != CV_8UC3) {
      damage_ = "pictures are not 8-bit colour";
      return false;
    }
    if (turn_ == 90) cv::rotate(picture, picture, cv::ROTATE_90_CLOCKWISE);
    if (turn_ == 180) cv::rotate(picture, picture, cv::ROTATE_180);
    if (turn_ == 270) cv::rotate(picture, picture, cv::ROTATE_90_COUNTERCLOCKWISE);
    frame = {.pixels = picture.data,
             .row_bytes = static_cast<int64_t>(picture.step[0]),
             .height = picture.rows,
             .width = picture.cols,
             .blue_first = true,
             .seconds = time_stamp()};
    ++frames_;
    return true;
  }

  std::string damage() const override { return damage_; }

 private:
  /// Time stamps of the file, counted from the first. OpenCV reports none for the last few
  /// pictures, those that are drained from the decoder at the end: they follow at the last interval
  /// seen.
  double time_stamp() {
    const double reported = capture_.get(cv::CAP_PROP_POS_MSEC) / 1000.0;
    if (frames_ == 0) {
      first_ = reported;
      last_ = 0;
      return 0;
    }
    const double seconds = reported - first_;
    if (seconds > last_ + 1e-6) {
      interval_ = seconds - last_;
      last_ = seconds;
    } else {
      last_ += interval_;
    }
    return last_;
  }

  /// Notes that the file was cut off if its container promises more bytes than there are, or
  /// clearly more pictures than could be decoded: more than a tenth of them and more than two are
  /// missing.
  void check_length() {
    if (!damage_.empty()) return;
    if (head_.promised_bytes > head_.file_bytes) {
      damage_ =
          formatted("truncated: {} of {} bytes are there", head_.file_bytes, head_.promised_bytes);
      return;
    }
    if (!counts_pictures_) return;
    const double seconds = frames_ == 0 ? 0 : last_ + interval_;
    const bool cut = info_.seconds > 0 && seconds < 0.9 * info_.seconds &&
                     seconds + 2 * interval_ < info_.seconds;
    if (!cut) return;
    damage_ = formatted("truncated: {:g} of {:g} seconds can be decoded", seconds, info_.seconds);
  }

  FileHead head_;
  bool counts_pictures_ = false;  // the container says how many it has
  cv::VideoCapture capture_;
  VideoInfo info_{};
  double pixel_aspect_ = 1;
  int turn_ = 0;                    // degrees clockwise, 0 to 270
  std::array<cv::Mat, 2> buffers_;  // of the last two pictures, in turn
  uint64_t frames_ = 0;             // handed out
  // Seconds: the first picture's time stamp in the file, the last one's from 0, and from one
  // picture to the next.
  double first_ = 0, last_ = 0, interval_ = 0.04;
  std::string damage_;
};

}  // namespace

std::unique_ptr<FrameSource> open_opencv_source(const std::string& path, const FileHead& head) {
  return std::make_unique<OpenCvSource>(path, head);
}

}  // namespace vmla::data
