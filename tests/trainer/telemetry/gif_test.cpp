#include "trainer/telemetry/gif.h"

#include <gtest/gtest.h>

#include "model/io/error.h"

namespace vmla::trainer {
namespace {

int byte_at(const std::string& bytes, size_t at) {
  return static_cast<uint8_t>(bytes.at(at));
}

/// A reader of what gif_animation writes, from the GIF89a specification, sharing no code with it.
class GifReader {
 public:
  explicit GifReader(const std::string& bytes) : bytes_(bytes) {
    EXPECT_EQ(bytes.substr(0, 6), "GIF89a");
    width = byte_at(bytes, 6) + 256 * byte_at(bytes, 7);
    height = byte_at(bytes, 8) + 256 * byte_at(bytes, 9);
    at_ = 13 + 3 * 256;
    while (byte_at(bytes_, at_) != ';') {
      if (byte_at(bytes_, at_) == 0x21) {
        if (byte_at(bytes_, at_ + 1) == 0xF9) delay = byte_at(bytes_, at_ + 4);
        at_ += 2;
        read_blocks();
      } else {
        EXPECT_EQ(byte_at(bytes_, at_), 0x2C);
        at_ += 10;
        EXPECT_EQ(byte_at(bytes_, at_++), 8);
        frames.push_back(unpacked(read_blocks()));
      }
    }
    EXPECT_EQ(at_ + 1, bytes_.size());
  }

  /// Red, green, blue of a pixel.
  std::array<int, 3> colour(size_t frame, int row, int column) const {
    const auto index =
        static_cast<size_t>(frames.at(frame).at(static_cast<size_t>(row * width + column)));
    return {byte_at(bytes_, 13 + 3 * index),
            byte_at(bytes_, 14 + 3 * index),
            byte_at(bytes_, 15 + 3 * index)};
  }

  int width = 0, height = 0, delay = 0;
  std::vector<std::vector<int>> frames;

 private:
  std::string read_blocks() {
    std::string data;
    for (int size = byte_at(bytes_, at_++); size > 0; size = byte_at(bytes_, at_++)) {
      data += bytes_.substr(at_, static_cast<size_t>(size));
      at_ += static_cast<size_t>(size);
    }
    return data;
  }

  static std::vector<int> unpacked(const std::string& data) {
    std::vector<int> pixels;
    std::vector<std::vector<int>> table;
    size_t bit = 0, width = 9;
    const auto clear = [&] {
      table.assign(258, {});
      for (int i = 0; i < 256; ++i) table[static_cast<size_t>(i)] = {i};
      width = 9;
    };
    std::vector<int> before;
    for (;;) {
      size_t code = 0;
      for (size_t i = 0; i < width; ++i, ++bit) {
        const int byte = byte_at(data, bit / 8);
        code |= static_cast<size_t>(byte >> bit % 8 & 1) << i;
      }
      if (code == 257) return pixels;
      if (code == 256) {
        clear();
        before.clear();
        continue;
      }
      std::vector<int> now = code < table.size() ? table[code] : before;
      if (code >= table.size()) now.push_back(before.at(0));
      pixels.insert(pixels.end(), now.begin(), now.end());
      if (!before.empty() && table.size() < 4096) {
        before.push_back(now.at(0));
        table.push_back(before);
      }
      if (table.size() == size_t{1} << width && width < 12) ++width;
      before = now;
    }
  }

  const std::string& bytes_;
  size_t at_ = 0;
};

// Noise of a picture large enough that the table of codes fills up and begins anew.
std::string noisy_frame(int width, int height, uint32_t seed) {
  std::string rgb;
  for (int i = 0; i < 3 * width * height; ++i) {
    seed = seed * 1664525u + 1013904223u;
    rgb.push_back(static_cast<char>(seed >> 24));
  }
  return rgb;
}

TEST(Gif, AReaderGetsThePixelsBack) {
  const int width = 150, height = 130;
  GifFrames frames{.width = width, .height = height, .fps = 10};
  for (uint32_t f = 0; f < 3; ++f) frames.rgb.push_back(noisy_frame(width, height, f));
  frames.rgb.push_back(std::string(3 * width * height, '\0'));  // long runs
  const std::string bytes = gif_animation(frames);
  const GifReader read(bytes);
  ASSERT_EQ(read.frames.size(), 4u);
  EXPECT_EQ(read.width, width);
  EXPECT_EQ(read.height, height);
  EXPECT_EQ(read.delay, 10);
  for (size_t f = 0; f < 4; ++f) {
    ASSERT_EQ(read.frames[f].size(), static_cast<size_t>(width * height));
    for (int i = 0; i < width * height; ++i) {
      const auto found = read.colour(f, i / width, i % width);
      for (size_t c = 0; c < 3; ++c) {
        // Half a step of the palette's 6 levels, and the rounding of its entries.
        const int truth = byte_at(frames.rgb[f], 3 * static_cast<size_t>(i) + c);
        ASSERT_NEAR(found[c], truth, 27) << f << " " << i;
      }
    }
  }
}

TEST(Gif, SmallPicturesAreEnlarged) {
  GifFrames frames{.width = 16, .height = 20, .fps = 8, .rgb = {noisy_frame(16, 20, 1)}};
  const std::string bytes = gif_animation(frames);
  const GifReader read(bytes);
  EXPECT_EQ(read.width, 128);
  EXPECT_EQ(read.height, 160);
  EXPECT_EQ(read.colour(0, 0, 0), read.colour(0, 7, 7));
}

TEST(Gif, RefusesWhatIsNoVideo) {
  EXPECT_THROW(gif_animation({}), RunError);
  EXPECT_THROW(gif_animation({.width = 2, .height = 2, .fps = 8, .rgb = {"short"}}), RunError);
  EXPECT_THROW(
      gif_animation({.width = 1, .height = 65535, .fps = 8, .rgb = {std::string(3 * 65535, '\0')}}),
      RunError);
}

}  // namespace
}  // namespace vmla::trainer
