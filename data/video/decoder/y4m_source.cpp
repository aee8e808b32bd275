#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <sstream>
#include <vector>

#include "data/video/decoder/frame_source.h"
#include "model/io/error.h"

namespace vmla::data {
namespace {

/// YUV4MPEG2 with 8 bits: mono, 4:2:0, 4:2:2 and 4:4:4. Colours are BT.601 in the limited range (Y
/// from 16 to 235, U and V from 16 to 240 around 128), which is what writers without a colour tag
/// mean. Chroma is repeated, not interpolated.
class Y4mSource final : public FrameSource {
 public:
  explicit Y4mSource(const std::string& path) : file_(path, std::ios::binary) {
    std::string line;
    if (!read_line(line) || line.rfind("YUV4MPEG2 ", 0) != 0) {
      fail_user("no YUV4MPEG2 header");
    }
    parse_header(line.substr(10));
    // As many frames as the file's size promises; a part of one counts, and is damage later. Each
    // has the line "FRAME" before its planes.
    const auto header_bytes = static_cast<double>(file_.tellg());
    file_.seekg(0, std::ios::end);
    const double left = static_cast<double>(file_.tellg()) - header_bytes;
    const double frame_bytes = 6.0 + static_cast<double>(plane_bytes_[0] + 2 * plane_bytes_[1]);
    // Before anything is allocated for such pictures.
    if (left < frame_bytes) {
      fail_user("pictures of {} x {} take {:g} bytes each, and the file has {:g} behind its header",
                info_.width,
                info_.height,
                frame_bytes,
                left);
    }
    info_.seconds = std::ceil(left / frame_bytes) / info_.fps;
    file_.seekg(static_cast<std::streamoff>(header_bytes));
  }

  VideoInfo info() const override { return info_; }
  double pixel_aspect() const override { return pixel_aspect_; }
  std::string damage() const override { return damage_; }

  bool next(SourceFrame& frame) override {
    std::string line;
    if (!damage_.empty() || !read_line(line)) return false;
    if (line.rfind("FRAME", 0) != 0) {
      damage_ = formatted("frame {} does not start with FRAME", frames_);
      return false;
    }
    for (size_t p = 0; p < 3; ++p) {
      planes_[p].resize(plane_bytes_[p == 0 ? 0 : 1]);
      if (!file_.read(reinterpret_cast<char*>(planes_[p].data()),
                      static_cast<std::streamsize>(planes_[p].size()))) {
        damage_ = formatted("truncated in frame {}", frames_);
        return false;
      }
    }
    std::vector<uint8_t>& rgb = buffers_[frames_ % 2];
    convert(rgb);
    frame = {.pixels = rgb.data(),
             .row_bytes = info_.width * 3,
             .height = static_cast<int>(info_.height),
             .width = static_cast<int>(info_.width),
             .seconds = static_cast<double>(frames_) / info_.fps};
    ++frames_;
    return true;
  }

 private:
  /// A line of the file, without its end; false at the end of the file, or where no line of this
  /// format could be as long.
  bool read_line(std::string& line) {
    constexpr size_t kMostLineBytes = 4096;
    line.clear();
    for (int c = file_.get(); c != std::ifstream::traits_type::eof(); c = file_.get()) {
      if (c == '\n') return true;
      if (line.size() == kMostLineBytes) {
        if (frames_ > 0) damage_ = formatted("frame {} does not start with FRAME", frames_);
        return false;
      }
      line.push_back(static_cast<char>(c));
    }
    if (!line.empty() && frames_ > 0) damage_ = formatted("truncated in frame {}", frames_);
    return false;
  }

  /// Words such as W128 H128 F8:1 Ip A1:1 C420, in any order.
  void parse_header(const std::string& text) {
    std::istringstream words(text);
    std::string word, chroma = "420";
    double width = 0, height = 0;
    while (words >> word) {
      const std::string value = word.substr(1);
      if (word[0] == 'W') width = std::atof(value.c_str());
      if (word[0] == 'H') height = std::atof(value.c_str());
      if (word[0] == 'F') info_.fps = ratio(value);
      if (word[0] == 'A') pixel_aspect_ = ratio(value);
      if (word[0] == 'C') chroma = value;
      if (word[0] == 'I' && value != "p" && value != "?") fail_user("interlaced (I{})", value);
    }
    if (!(width >= 1 && height >= 1 && width <= 16384 && height <= 16384)) {
      fail_user("picture size {:g} x {:g} in the header", width, height);
    }
    if (!(info_.fps > 0)) fail_user("no frame rate in the header");
    if (!(info_.fps <= 1e6)) fail_user("{:g} frames a second in the header", info_.fps);
    // 0:0 means unknown, and so does what no camera or screen has.
    if (!(pixel_aspect_ > 1e-3 && pixel_aspect_ < 1e3)) pixel_aspect_ = 1;
    info_.width = static_cast<uint32_t>(width);
    info_.height = static_cast<uint32_t>(height);
    // These place the chroma samples differently, which is ignored here. 420p10 and the like have
    // more than 8 bits.
    const bool is_420 =
        chroma == "420" || chroma == "420jpeg" || chroma == "420mpeg2" || chroma == "420paldv";
    if (chroma == "mono") {
      chroma_x_ = chroma_y_ = 0;
    } else if (chroma == "444") {
      chroma_x_ = chroma_y_ = 1;
    } else if (chroma == "422") {
      chroma_x_ = 2;
    } else if (is_420) {
      chroma_x_ = chroma_y_ = 2;
    } else {
      fail_user("chroma C{} (readable: mono, 420, 422, 444 with 8 bits)", chroma);
    }
    plane_bytes_[0] = size_t{info_.width} * info_.height;
    plane_bytes_[1] =
        chroma_x_ == 0 ? 0 : chroma_width() * ((info_.height + chroma_y_ - 1) / chroma_y_);
  }

  /// "30000:1001"; 0 for what is no ratio.
  static double ratio(const std::string& text) {
    const size_t colon = text.find(':');
    if (colon == std::string::npos) return 0;
    const double denominator = std::atof(text.c_str() + colon + 1);
    return denominator > 0 ? std::atof(text.c_str()) / denominator : 0;
  }

  size_t chroma_width() const { return (info_.width + chroma_x_ - 1) / chroma_x_; }

  /// The planes as RGB bytes (inverse of data/video/video_writer.cpp).
  void convert(std::vector<uint8_t>& rgb) const {
    rgb.resize(plane_bytes_[0] * 3);
    size_t at = 0;
    for (uint32_t row = 0; row < info_.height; ++row) {
      for (uint32_t column = 0; column < info_.width; ++column, ++at) {
        double u = 0, v = 0;
        if (chroma_x_ != 0) {
          const size_t chroma = row / chroma_y_ * chroma_width() + column / chroma_x_;
          u = (planes_[1][chroma] - 128.0) / 224.0;
          v = (planes_[2][chroma] - 128.0) / 224.0;
        }
        const double y = (planes_[0][at] - 16.0) / 219.0;
        rgb[3 * at] = level(y + 1.402 * v);
        rgb[3 * at + 1] = level(y - 0.344136 * u - 0.714136 * v);
        rgb[3 * at + 2] = level(y + 1.772 * u);
      }
    }
  }

  /// [0, 1] to a byte.
  static uint8_t level(double value) {
    return static_cast<uint8_t>(std::lround(std::clamp(value, 0.0, 1.0) * 255.0));
  }

  std::ifstream file_;
  VideoInfo info_{};
  double pixel_aspect_ = 1;
  uint32_t chroma_x_ = 2, chroma_y_ = 2;         // pixels of a chroma sample; 0: no chroma
  std::array<size_t, 2> plane_bytes_{};          // of Y, and of each of U and V
  std::array<std::vector<uint8_t>, 3> planes_;   // Y, U, V of the current frame
  std::array<std::vector<uint8_t>, 2> buffers_;  // RGB of the last two frames, in turn
  uint64_t frames_ = 0;                          // handed out
  std::string damage_;
};

}  // namespace

std::unique_ptr<FrameSource> open_y4m_source(const std::string& path) {
  return std::make_unique<Y4mSource>(path);
}

}  // namespace vmla::data
