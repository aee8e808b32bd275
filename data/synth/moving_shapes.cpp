#include "data/synth/moving_shapes.h"

#include <ATen/ATen.h>

#include <cctype>
#include <cmath>
#include <numbers>

#include "model/io/error.h"

namespace vmla::data {
namespace {

template <size_t N>
int find_name(const std::array<std::string_view, N>& names, std::string_view word) {
  for (size_t i = 0; i < N; ++i) {
    if (names[i] == word) return static_cast<int>(i);
  }
  return -1;
}

std::vector<std::string> lower_words(std::string_view text) {
  std::vector<std::string> words;
  bool inside = false;
  for (const char c : text) {
    const bool space = std::isspace(static_cast<unsigned char>(c)) != 0;
    if (!space && !inside) words.emplace_back();
    if (!space) {
      words.back().push_back(static_cast<char>(std::tolower(static_cast<unsigned char>(c))));
    }
    inside = !space;
  }
  return words;
}

/// Signed distance (negative inside) from (x, y) to a form of area 1 whose centre of area is (0,
/// 0). `shape` is an index of kShapeNames.
double signed_distance(int shape, double x, double y) {
  // Not std::hypot, for which a bundle would need glibc 2.35 (launch/bundle).
  if (shape == 0) return std::sqrt(x * x + y * y) - 1.0 / std::sqrt(std::numbers::pi);
  if (shape == 1) return std::max(std::abs(x), std::abs(y)) - 0.5;
  // Equilateral, apex up: side s with s²·√3/4 = 1; each edge lies s/(2√3) from the centre.
  const double inner = 1.0 / std::sqrt(3.0 * std::sqrt(3.0));
  const double slanted = 0.5 * std::sqrt(3.0) * std::abs(x) - 0.5 * y;
  return std::max(y, slanted) - inner;
}

/// Intensity of the surface at (x, y), in units of the shape's size from its centre: bilinear
/// between the four values of the texture, which lie at (±0.25, ±0.25).
double surface(const std::array<double, 4>& texture, double x, double y) {
  const double u = std::clamp(2.0 * x + 0.5, 0.0, 1.0);
  const double v = std::clamp(2.0 * y + 0.5, 0.0, 1.0);
  const double top = texture[0] + u * (texture[1] - texture[0]);
  const double bottom = texture[2] + u * (texture[3] - texture[2]);
  return kTextureBase + kTextureAmplitude * (top + v * (bottom - top));
}

/// Side whose border covers the point, as an index of kDirectionNames; -1 inside. Corners belong to
/// left and right.
int border_side(double x, double y) {
  if (x < kBorderWidth) return 0;
  if (x > 1.0 - kBorderWidth) return 1;
  if (y < kBorderWidth) return 2;
  if (y > 1.0 - kBorderWidth) return 3;
  return -1;
}

/// A pixel value in [-1, 1] on the scale on which the background is 0 and a full channel 1.
double intensity_of(double value) {
  return ((value + 1.0) * 127.5 - kDarkLevel) / (kBrightLevel - kDarkLevel);
}

/// Into [0, 1).
double wrap(double position) {
  return position - std::floor(position);
}

}  // namespace

Combination combination_at(int index) {
  TORCH_CHECK(index >= 0 && index < kNumCombinations, "combination index out of range: ", index);
  return {index / 12, index / 4 % 3, index % 4};
}

bool is_held_out(const Combination& what) {
  return (3 * what.colour + 5 * what.shape + 7 * what.direction) % 6 == 0;
}

std::vector<Combination> combinations(bool held_out) {
  std::vector<Combination> all;
  for (int i = 0; i < kNumCombinations; ++i) {
    if (is_held_out(combination_at(i)) == held_out) all.push_back(combination_at(i));
  }
  return all;
}

std::string caption_of(const Combination& what) {
  return formatted("a {} {} moves {}",
                   kColourNames.at(static_cast<size_t>(what.colour)),
                   kShapeNames.at(static_cast<size_t>(what.shape)),
                   kDirectionNames.at(static_cast<size_t>(what.direction)));
}

std::optional<Combination> parse_caption(std::string_view caption) {
  const std::vector<std::string> words = lower_words(caption);
  if (words.size() != 5 || words[0] != "a" || words[3] != "moves") return std::nullopt;
  const Combination what = {find_name(kColourNames, words[1]),
                            find_name(kShapeNames, words[2]),
                            find_name(kDirectionNames, words[4])};
  if (what.colour < 0 || what.shape < 0 || what.direction < 0) return std::nullopt;
  return what;
}

kernels::DrawKey clip_key(uint64_t seed, uint64_t index, bool held_out) {
  return {.seed = seed,
          .step = held_out ? 1u : 0u,
          .purpose = kernels::Purpose::kSynthetic,
          .role = 0,
          .sample = index};
}

ClipSpec draw_clip(uint64_t seed,
                   uint64_t index,
                   bool held_out,
                   int64_t clip_frames,
                   const std::optional<MosaicConfig>& mosaic) {
  TORCH_CHECK(clip_frames >= 2, "a moving clip needs at least 2 frames, got ", clip_frames);
  const std::vector<Combination> allowed = combinations(held_out);
  const kernels::DrawKey key = clip_key(seed, index, held_out);
  const auto between = [&](uint64_t draw, double low, double high) {
    return low + (high - low) * kernels::uniform_at(key, draw);
  };

  ClipSpec spec;
  spec.what = allowed[index % allowed.size()];
  spec.size = between(0, kMinSize, kMaxSize);
  spec.speed = between(1, kMinTravel, kMaxTravel) / static_cast<double>(clip_frames - 1);
  // Along its way it starts near the edge it comes from; across it, near the middle.
  const double along = between(2, 0.12, 0.24);
  const double across = between(3, kMinAcross, kMaxAcross);
  const auto& step = kDirectionStep[static_cast<size_t>(spec.what.direction)];
  spec.start_x = step[0] == 0 ? across : (step[0] > 0 ? along : 1.0 - along);
  spec.start_y = step[1] == 0 ? across : (step[1] > 0 ? along : 1.0 - along);
  for (size_t i = 0; i < 4; ++i) spec.texture[i] = between(4 + i, -1.0, 1.0);
  if (mosaic) {
    spec.ground = std::make_shared<const MosaicGround>(draw_ground(*mosaic, seed, index, held_out));
  }
  return spec;
}

std::array<double, 2> centre_at(const ClipSpec& spec, int64_t frame) {
  const auto& step = kDirectionStep[static_cast<size_t>(spec.what.direction)];
  const double way = spec.speed * static_cast<double>(frame);
  return {wrap(spec.start_x + step[0] * way), wrap(spec.start_y + step[1] * way)};
}

void render_frame(const ClipSpec& spec, int64_t frame, int64_t side, uint8_t* rgb_HW3) {
  const auto [centre_x, centre_y] = centre_at(spec, frame);
  const double pixel = 1.0 / static_cast<double>(side);
  const auto& channels = kColourChannels[static_cast<size_t>(spec.what.colour)];
  for (int64_t row = 0; row < side; ++row) {
    for (int64_t column = 0; column < side; ++column) {
      const double x = (static_cast<double>(column) + 0.5) * pixel;
      const double y = (static_cast<double>(row) + 0.5) * pixel;
      // The nearest copy on the torus; a size below 1/2 never shows two copies at one pixel.
      double dx = x - centre_x, dy = y - centre_y;
      dx -= std::round(dx);
      dy -= std::round(dy);
      const double distance =
          signed_distance(spec.what.shape, dx / spec.size, dy / spec.size) * spec.size;
      // The share of the pixel that the shape covers: exact for a straight edge through it.
      const double coverage = std::clamp(0.5 - distance / pixel, 0.0, 1.0);
      const double intensity =
          coverage > 0.0 ? surface(spec.texture, dx / spec.size, dy / spec.size) : 0.0;
      const int border = border_side(x, y);
      for (size_t c = 0; c < 3; ++c) {
        const bool border_on =
            border >= 0 &&
            kColourChannels[static_cast<size_t>(kBorderColour[static_cast<size_t>(border)])][c];
        double behind = border_on ? kBorderIntensity : 0.0;
        if (border < 0 && spec.ground) {
          behind = intensity_of(spec.ground->at(static_cast<int64_t>(c), x, y, frame));
        }
        const double front = channels[c] != 0 ? intensity : 0.0;
        const double level = behind + coverage * (front - behind);
        *rgb_HW3++ =
            static_cast<uint8_t>(std::lround(kDarkLevel + (kBrightLevel - kDarkLevel) * level));
      }
    }
  }
}

at::Tensor render_clips(const std::vector<ClipSpec>& specs, int64_t frames, int64_t side) {
  const int64_t factor = (127 + side) / side;  // at least 128 pixels a side before averaging
  const int64_t fine = side * factor;
  const auto n = static_cast<int64_t>(specs.size());
  at::Tensor rgb = at::empty({fine, fine, 3}, at::kByte);
  at::Tensor out = at::empty({n, frames, 3, side, side}, at::kFloat);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t f = 0; f < frames; ++f) {
      render_frame(specs[static_cast<size_t>(i)], f, fine, rgb.data_ptr<uint8_t>());
      const at::Tensor mean = rgb.to(at::kFloat)
                                  .view({side, factor, side, factor, 3})
                                  .mean(at::IntArrayRef{1, 3})
                                  .permute({2, 0, 1});
      out[i][f].copy_(mean.div(127.5).sub(1.0));
    }
  }
  return out;
}

}  // namespace vmla::data
