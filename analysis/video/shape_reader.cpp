#include "analysis/video/shape_reader.h"

#include <ATen/ATen.h>

#include <cmath>
#include <numeric>

#include "analysis/video/coverage.h"
#include "analysis/video/shape_form.h"

namespace vmla::analysis {
namespace {

// The colour whose channels have the largest cosine to `rgb`.
int nearest_hue(const std::array<double, 3>& rgb) {
  int best = 0;
  double best_cosine = -1;
  for (size_t colour = 0; colour < data::kColourChannels.size(); ++colour) {
    double dot = 0, norm = 0;
    for (size_t c = 0; c < 3; ++c) {
      dot += rgb[c] * data::kColourChannels[colour][c];
      norm += data::kColourChannels[colour][c];
    }
    if (dot / std::sqrt(norm) > best_cosine) {
      best_cosine = dot / std::sqrt(norm);
      best = static_cast<int>(colour);
    }
  }
  return best;
}

// An index of data::kColourNames: the hue of what moves. Each pixel's excess over the background is
// weighted by its own brightest channel, so that faint noise has no say.
int read_colour(const ClipLevels& clip) {
  std::array<double, 3> sum{};
  for (int64_t f = 0; f < clip.frames(); ++f) {
    for (int64_t row = 0; row < clip.side(); ++row) {
      for (int64_t column = 0; column < clip.side(); ++column) {
        if (!clip.is_interior(row, column)) continue;
        std::array<double, 3> excess{};
        for (int64_t c = 0; c < 3; ++c) {
          excess[static_cast<size_t>(c)] =
              clip.level(f, c, row, column) - clip.background(c, row, column);
        }
        const double weight = std::max({excess[0], excess[1], excess[2]});
        for (size_t c = 0; c < 3; ++c) sum[c] += weight * excess[c];
      }
    }
  }
  return nearest_hue(sum);
}

// An index of data::kDirectionNames: left, right, up, down.
int read_direction(const Foreground& interior) {
  const auto [dx, dy] = mean_displacement(interior, 0, interior.frames);
  if (std::abs(dx) > std::abs(dy)) return dx < 0 ? 0 : 1;
  return dy < 0 ? 2 : 3;
}

}  // namespace

data::Combination read_shape(const at::Tensor& clip_F3HW) {
  const ClipLevels clip(clip_F3HW);
  data::Combination what;
  what.colour = read_colour(clip);
  const BrightChannels channels = bright_channels(clip, what.colour);
  const Foreground interior = interior_of(clip, channels.excess);
  what.shape = read_form(clip, coverage_of(channels, surface_intensity(interior)));
  what.direction = read_direction(interior);
  return what;
}

std::vector<ChunkTraits> read_chunk_traits(const at::Tensor& clip_F3HW,
                                           int colour,
                                           const std::vector<int64_t>& chunk_frames) {
  const ClipLevels clip(clip_F3HW);
  const int64_t total = std::accumulate(chunk_frames.begin(), chunk_frames.end(), int64_t{0});
  TORCH_CHECK(total <= clip.frames(), "chunks of ", total, " frames in a clip of ", clip.frames());
  const BrightChannels channels = bright_channels(clip, colour);
  const double intensity = surface_intensity(interior_of(clip, channels.excess));
  const Foreground coverage = coverage_of(channels, intensity);
  std::vector<ChunkTraits> traits;
  int64_t first = 0;
  for (const int64_t frames : chunk_frames) {
    const int64_t last = first + frames;
    double area = 0;
    for (int64_t f = first; f < last; ++f) area += covered_area(coverage, f);
    const double size = size_of_area(area / static_cast<double>(std::max<int64_t>(frames, 1)));
    // A speed needs two frames; the next one rather than the one before, so that chunks share no
    // pair.
    const int64_t end = frames > 1 ? last : std::min(first + 2, clip.frames());
    const int64_t begin = frames > 1 ? first : end - std::min<int64_t>(2, clip.frames());
    const auto [dx, dy] = mean_displacement(channels.excess, begin, end);
    traits.push_back({.size = size,
                      .speed = std::max(std::abs(dx), std::abs(dy)),
                      .texture = read_texture(channels, coverage, size, first, last)});
    first = last;
  }
  return traits;
}

}  // namespace vmla::analysis
