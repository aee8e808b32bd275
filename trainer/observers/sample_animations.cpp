#include "trainer/observers/sample_animations.h"

#include "data/video/decoder_process.h"
#include "model/io/error.h"
#include "model/io/log.h"
#include "trainer/telemetry/gif.h"

#include <algorithm>

namespace vmla::trainer {
namespace {

constexpr size_t kMostVideos = 8;
constexpr int64_t kMostFrames = 64;
constexpr int64_t kMostSide = 256;

// `side` in pictures whose longer side is `longest`, shrunk to kMostSide; 2 at least.
int64_t shrunk(int64_t side, int64_t longest) {
  return longest <= kMostSide ? side : std::max<int64_t>(2, side * kMostSide / longest);
}

SampleAnimation animation_of(data::DecoderProcess& decoder,
                             const std::filesystem::path& file,
                             const MediaInfo& media) {
  const int64_t longest = std::max(media.pixel_height, media.pixel_width);
  data::ReadOptions options;
  options.height = shrunk(media.pixel_height, longest);
  options.width = shrunk(media.pixel_width, longest);
  options.fps = media.fps;
  options.max_frames = kMostFrames;
  GifFrames frames{.width = static_cast<int>(options.width),
                   .height = static_cast<int>(options.height),
                   .fps = media.fps};
  const auto bytes = static_cast<size_t>(3 * options.width * options.height);
  const auto outcome = decoder.read(file, options, [&](int64_t, const uint8_t* rgb) {
    frames.rgb.emplace_back(reinterpret_cast<const char*>(rgb), bytes);
    return true;
  });
  if (!outcome.problem.empty()) fail_run("{}", outcome.problem);
  SampleAnimation animation{.name = file.stem().string(), .gif = {.bytes = gif_animation(frames)}};
  // As the file itself says: small pictures are enlarged in it.
  const auto side = [&](size_t at) {
    return static_cast<uint8_t>(animation.gif.bytes.at(at)) +
           256 * static_cast<uint8_t>(animation.gif.bytes.at(at + 1));
  };
  animation.gif.width = side(6);
  animation.gif.height = side(8);
  return animation;
}

}  // namespace

std::vector<SampleAnimation> sample_animations(const std::vector<std::filesystem::path>& files,
                                               const MediaInfo& media) {
  std::vector<SampleAnimation> animations;
  for (size_t i = 0; i < std::min(files.size(), kMostVideos); ++i) {
    try {
      data::DecoderProcess decoder(data::find_decoder_program());
      animations.push_back(animation_of(decoder, files[i], media));
    } catch (const RunError& error) {
      log::warn("{}: not shown in TensorBoard: {}", files[i].string(), error.what());
    }
  }
  return animations;
}

}  // namespace vmla::trainer
