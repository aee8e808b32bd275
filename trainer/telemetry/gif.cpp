#include "trainer/telemetry/gif.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <string_view>

#include "model/io/error.h"

namespace vmla::trainer {
namespace {

constexpr int kLeastSide = 128;  // what is smaller is enlarged
constexpr int kMostSide = 65535;
// Levels of red, green and blue; the eye tells most greens apart. 252 colours, the rest is black.
constexpr std::array<int, 3> kLevels = {6, 7, 6};

void append_short(std::string& out, int value) {
  out.push_back(static_cast<char>(value & 0xFF));
  out.push_back(static_cast<char>(value >> 8 & 0xFF));
}

std::string palette() {
  std::string colours(3 * 256, '\0');
  size_t at = 0;
  for (int red = 0; red < kLevels[0]; ++red) {
    for (int green = 0; green < kLevels[1]; ++green) {
      for (int blue = 0; blue < kLevels[2]; ++blue) {
        colours[at++] = static_cast<char>(255 * red / (kLevels[0] - 1));
        colours[at++] = static_cast<char>(255 * green / (kLevels[1] - 1));
        colours[at++] = static_cast<char>(255 * blue / (kLevels[2] - 1));
      }
    }
  }
  return colours;
}

// The index of the palette's nearest colour.
uint8_t nearest_colour(const char* rgb) {
  int index = 0;
  for (size_t c = 0; c < 3; ++c) {
    const int level = (static_cast<uint8_t>(rgb[c]) * (kLevels[c] - 1) + 127) / 255;
    index = index * kLevels[c] + level;
  }
  return static_cast<uint8_t>(index);
}

/// GIF's LZW: codes of 9 to 12 bits, packed from the lowest bit on, in blocks of up to 255 bytes.
class LzwWriter {
 public:
  static constexpr int kPixelBits = 8;

  std::string compress(const std::vector<uint8_t>& pixels) {
    restart();
    int prefix = -1;
    for (const uint8_t pixel : pixels) {
      if (prefix < 0) {
        prefix = pixel;
        continue;
      }
      uint16_t& known = next_[static_cast<size_t>(prefix) << kPixelBits | pixel];
      if (known != 0) {
        prefix = known;
        continue;
      }
      put(prefix);
      known = static_cast<uint16_t>(count_);
      grow();
      prefix = pixel;
    }
    if (prefix >= 0) put(prefix);
    put(kEnd);
    if (bits_ > 0) bytes_.push_back(static_cast<char>(pending_ & 0xFF));
    return blocks();
  }

 private:
  static constexpr int kClear = 1 << kPixelBits, kEnd = kClear + 1, kMostCodes = 4096;

  // Every table begins with a clear code, which the decoder takes as its sign to forget, too.
  void restart() {
    if (width_ == 0) width_ = kPixelBits + 1;
    put(kClear);
    next_.assign(static_cast<size_t>(kMostCodes) << kPixelBits, 0);
    count_ = kEnd + 1;
    width_ = kPixelBits + 1;
  }

  // The code count_ has been given out.
  void grow() {
    if (count_ == kMostCodes - 1) {
      restart();
      return;
    }
    // The decoder learns each code one step later, so a width is enough for one code more.
    if (count_ == 1 << width_ && width_ < 12) ++width_;
    ++count_;
  }

  void put(int code) {
    pending_ |= static_cast<uint32_t>(code) << bits_;
    for (bits_ += width_; bits_ >= 8; bits_ -= 8, pending_ >>= 8)
      bytes_.push_back(static_cast<char>(pending_ & 0xFF));
  }

  std::string blocks() const {
    std::string out;
    for (size_t at = 0; at < bytes_.size(); at += 255) {
      const std::string_view block = std::string_view(bytes_).substr(at, 255);
      out.push_back(static_cast<char>(block.size()));
      out += block;
    }
    out.push_back('\0');
    return out;
  }

  std::vector<uint16_t> next_;  // [code, pixel] -> the code of both; 0: none yet
  std::string bytes_;
  uint32_t pending_ = 0;
  int bits_ = 0, width_ = 0, count_ = 0;
};

// Palette indices of a frame, each pixel repeated `factor` times along both axes.
std::vector<uint8_t> enlarged_indices(const GifFrames& frames, const std::string& rgb, int factor) {
  std::vector<uint8_t> pixels;
  pixels.reserve(static_cast<size_t>(frames.width) * static_cast<size_t>(frames.height) *
                 static_cast<size_t>(factor * factor));
  for (int row = 0; row < frames.height * factor; ++row) {
    for (int column = 0; column < frames.width * factor; ++column) {
      const int pixel = row / factor * frames.width + column / factor;
      pixels.push_back(nearest_colour(rgb.data() + 3 * static_cast<ptrdiff_t>(pixel)));
    }
  }
  return pixels;
}

void check(const GifFrames& frames) {
  const bool sized = frames.width >= 1 && frames.width <= kMostSide && frames.height >= 1 &&
                     frames.height <= kMostSide && !frames.rgb.empty();
  const size_t bytes =
      sized ? 3 * static_cast<size_t>(frames.width) * static_cast<size_t>(frames.height) : 0;
  const bool whole =
      std::ranges::all_of(frames.rgb, [&](const auto& rgb) { return rgb.size() == bytes; });
  if (!sized || !whole)
    fail_run(
        "a GIF of {} frames of {} x {} pixels", frames.rgb.size(), frames.width, frames.height);
}

}  // namespace

std::string gif_animation(const GifFrames& frames) {
  check(frames);
  const int least = std::min(frames.width, frames.height);
  const int factor = least < kLeastSide ? (kLeastSide + least - 1) / least : 1;
  const int width = frames.width * factor, height = frames.height * factor;
  if (width > kMostSide || height > kMostSide)
    fail_run("a GIF of {} x {} pixels", frames.width, frames.height);
  const int hundredths =
      std::max(2, static_cast<int>(std::lround(100 / std::max(frames.fps, 0.1))));
  std::string out = "GIF89a";
  append_short(out, width);
  append_short(out, height);
  // A palette of 256 colours for all frames; colour 0 behind them; square pixels.
  out += std::string("\xF7\x00\x00", 3) + palette();
  // Netscape's extension: repeat for ever.
  out += std::string("\x21\xFF\x0BNETSCAPE2.0\x03\x01\x00\x00\x00", 19);
  for (const std::string& rgb : frames.rgb) {
    out += std::string("\x21\xF9\x04\x04", 4);  // keep the frame in place
    append_short(out, hundredths);
    out += std::string("\x00\x00\x2C\x00\x00\x00\x00", 7);  // no transparency; picture at (0, 0)
    append_short(out, width);
    append_short(out, height);
    out += std::string("\x00", 1);
    out.push_back(static_cast<char>(LzwWriter::kPixelBits));
    out += LzwWriter().compress(enlarged_indices(frames, rgb, factor));
  }
  return out + ';';
}

}  // namespace vmla::trainer
