#include "analysis/video/shape_reader.h"

#include <ATen/ATen.h>

#include <cmath>
#include <numeric>

#include "analysis/video/foreground.h"

namespace vmla::analysis {
namespace {

constexpr int64_t kSubpixels = 4;  // form templates are averaged from 4 x 4 points a pixel

// Each level's excess over the background, weighted by the pixel's brightest channel: votes of
// bright pixels count most.
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
  // The hue with the largest cosine to the sum.
  int best = 0;
  double best_cosine = -1;
  for (size_t colour = 0; colour < data::kColourChannels.size(); ++colour) {
    double dot = 0, norm = 0;
    for (size_t c = 0; c < 3; ++c) {
      dot += sum[c] * data::kColourChannels[colour][c];
      norm += data::kColourChannels[colour][c];
    }
    if (dot / std::sqrt(norm) > best_cosine) {
      best_cosine = dot / std::sqrt(norm);
      best = static_cast<int>(colour);
    }
  }
  return best;
}

// Mean over the channels that `colour` is bright in: of the excess over the background, and of the
// background.
struct BrightChannels {
  Foreground excess;
  Foreground background;  // one frame
};

BrightChannels bright_channels(const ClipLevels& clip, int colour) {
  const auto& on = data::kColourChannels.at(static_cast<size_t>(colour));
  const double count = std::accumulate(on.begin(), on.end(), 0.0);
  const auto pixels = static_cast<size_t>(clip.side() * clip.side());
  BrightChannels result{{clip.frames(),
                         clip.side(),
                         std::vector<double>(static_cast<size_t>(clip.frames()) * pixels)},
                        {1, clip.side(), std::vector<double>(pixels)}};
  for (int64_t row = 0; row < clip.side(); ++row) {
    for (int64_t column = 0; column < clip.side(); ++column) {
      for (int64_t c = 0; c < 3; ++c) {
        if (on[static_cast<size_t>(c)] == 0) continue;
        const double background = clip.background(c, row, column);
        result.background.at(0, row, column) += background / count;
        for (int64_t f = 0; f < clip.frames(); ++f) {
          result.excess.at(f, row, column) += (clip.level(f, c, row, column) - background) / count;
        }
      }
    }
  }
  return result;
}

Foreground interior_of(const ClipLevels& clip, Foreground map) {
  for (int64_t f = 0; f < map.frames; ++f) {
    for (int64_t row = 0; row < map.side; ++row) {
      for (int64_t column = 0; column < map.side; ++column) {
        if (!clip.is_interior(row, column)) map.at(f, row, column) = 0;
      }
    }
  }
  return map;
}

// Σv³/Σv²: the intensity of the surface, since half-covered edge pixels hardly count.
double surface_intensity(const Foreground& interior) {
  double squares = 0, cubes = 0;
  for (const double v : interior.values) {
    squares += v * v;
    cubes += v * v * v;
  }
  return squares > 0 ? cubes / squares : 1.0;
}

// How much of each pixel the shape covers. In front of the border only the step from its level is
// seen, hence the quotient; its floor keeps a faint shape before a bright border from blowing up.
Foreground coverage_of(const BrightChannels& channels, double intensity) {
  Foreground coverage = channels.excess;
  for (int64_t f = 0; f < coverage.frames; ++f) {
    for (int64_t row = 0; row < coverage.side; ++row) {
      for (int64_t column = 0; column < coverage.side; ++column) {
        const double step = std::max(intensity - channels.background.at(0, row, column), 0.25);
        coverage.at(f, row, column) = std::clamp(coverage.at(f, row, column) / step, 0.0, 1.2);
      }
    }
  }
  return coverage;
}

double covered_area(const Foreground& coverage, int64_t frame) {
  double sum = 0;
  for (int64_t row = 0; row < coverage.side; ++row) {
    for (int64_t column = 0; column < coverage.side; ++column) {
      sum += coverage.at(frame, row, column);
    }
  }
  return sum / static_cast<double>(coverage.side * coverage.side);
}

// Offset from `centre` on the torus, in fractions of the side, in [-1/2, 1/2].
double torus_offset(double position, double centre) {
  const double offset = position - centre;
  return offset - std::round(offset);
}

// True inside a form of area 1 about its centre of area (the renderer's forms: docs/formats.md).
bool is_inside(int shape, double x, double y) {
  if (shape == 0) return x * x + y * y < 0.3183098861837907;  // 1/π
  if (shape == 1) return std::max(std::abs(x), std::abs(y)) < 0.5;
  const double inner =
      0.4386913376508308;  // inradius of the equilateral triangle of area 1: 1/√(3√3)
  return std::max(y, 0.8660254037844386 * std::abs(x) - 0.5 * y) < inner;
}

// Squared misfit of form `shape` of `size` at `centre` to one frame's coverage, over interior
// pixels.
double form_misfit(const ClipLevels& clip,
                   const Foreground& coverage,
                   int64_t frame,
                   int shape,
                   double size,
                   const std::array<double, 2>& centre) {
  const double fine = static_cast<double>(kSubpixels * coverage.side);
  double misfit = 0;
  for (int64_t row = 0; row < coverage.side; ++row) {
    for (int64_t column = 0; column < coverage.side; ++column) {
      if (!clip.is_interior(row, column)) continue;
      int inside = 0;
      for (int64_t i = 0; i < kSubpixels * kSubpixels; ++i) {
        const double y = static_cast<double>(row * kSubpixels + i / kSubpixels) + 0.5;
        const double x = static_cast<double>(column * kSubpixels + i % kSubpixels) + 0.5;
        inside += is_inside(shape,
                            torus_offset(x / fine, centre[0]) / size,
                            torus_offset(y / fine, centre[1]) / size);
      }
      const double expected = static_cast<double>(inside) / (kSubpixels * kSubpixels);
      const double difference = expected - coverage.at(frame, row, column);
      misfit += difference * difference;
    }
  }
  return misfit;
}

int read_form(const ClipLevels& clip, const Foreground& coverage) {
  std::vector<double> areas;
  for (int64_t f = 0; f < coverage.frames; ++f) areas.push_back(covered_area(coverage, f));
  std::vector<double> sorted = areas;
  std::sort(sorted.begin(), sorted.end());
  const double area = sorted[sorted.size() / 2];
  const double size = std::sqrt(std::max(area, 1e-4));
  std::array<double, 3> misfit{};
  for (int64_t f = 0; f < coverage.frames; ++f) {
    if (areas[static_cast<size_t>(f)] < 0.5 * area) continue;  // half behind the edge
    const std::array<double, 2> centre = circular_centre(coverage, f);
    for (int shape = 0; shape < 3; ++shape) {
      misfit[static_cast<size_t>(shape)] += form_misfit(clip, coverage, f, shape, size, centre);
    }
  }
  return static_cast<int>(std::min_element(misfit.begin(), misfit.end()) - misfit.begin());
}

int read_direction(const Foreground& interior) {
  const auto [dx, dy] = mean_displacement(interior, 0, interior.frames);
  if (std::abs(dx) > std::abs(dy)) return dx < 0 ? 0 : 1;
  return dy < 0 ? 2 : 3;
}

// Solves the 4 x 4 system of normal equations (symmetric, made positive definite by a small ridge)
// by Gauss.
std::array<double, 4> solve(std::array<std::array<double, 4>, 4> a, std::array<double, 4> b) {
  double trace = 0;
  for (size_t i = 0; i < 4; ++i) trace += a[i][i];
  for (size_t i = 0; i < 4; ++i) a[i][i] += 1e-3 * trace + 1e-12;
  for (size_t pivot = 0; pivot < 4; ++pivot) {
    for (size_t row = pivot + 1; row < 4; ++row) {
      const double factor = a[row][pivot] / a[pivot][pivot];
      for (size_t k = pivot; k < 4; ++k) a[row][k] -= factor * a[pivot][k];
      b[row] -= factor * b[pivot];
    }
  }
  for (size_t row = 4; row-- > 0;) {
    for (size_t k = row + 1; k < 4; ++k) b[row] -= a[row][k] * b[k];
    b[row] /= a[row][row];
  }
  return b;
}

// Fits intensity = t0 + t1 u + t2 v + t3 u v over the shape's inner pixels of frames [first, last),
// u and v the offset from the centre in units of the size. The centre is that of a mask that
// saturates at 0.6, so that a slope of the texture does not move it.
std::array<double, 4> read_texture(const BrightChannels& channels,
                                   const Foreground& coverage,
                                   double size,
                                   int64_t first,
                                   int64_t last) {
  const int64_t side = coverage.side;
  Foreground mask{1, side, std::vector<double>(static_cast<size_t>(side * side))};
  std::array<std::array<double, 4>, 4> normal{};
  std::array<double, 4> right{};
  for (int64_t f = first; f < last; ++f) {
    for (int64_t row = 0; row < side; ++row) {
      for (int64_t column = 0; column < side; ++column) {
        mask.at(0, row, column) = std::min(1.0, coverage.at(f, row, column) / 0.6);
      }
    }
    const std::array<double, 2> centre = circular_centre(mask, 0);
    for (int64_t row = 0; row < side; ++row) {
      for (int64_t column = 0; column < side; ++column) {
        const double weight =
            coverage.at(f, row, column) - 0.55;  // edge pixels are only partly the shape's
        if (weight <= 0) continue;
        const double scale = static_cast<double>(side);
        const double u =
            torus_offset((static_cast<double>(column) + 0.5) / scale, centre[0]) / size;
        const double v = torus_offset((static_cast<double>(row) + 0.5) / scale, centre[1]) / size;
        const std::array<double, 4> basis = {1.0, u, v, u * v};
        const double value =
            channels.excess.at(f, row, column) + channels.background.at(0, row, column);
        for (size_t i = 0; i < 4; ++i) {
          right[i] += weight * basis[i] * value;
          for (size_t j = 0; j < 4; ++j) normal[i][j] += weight * basis[i] * basis[j];
        }
      }
    }
  }
  return solve(normal, right);
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
    ChunkTraits chunk;
    double area = 0;
    for (int64_t f = first; f < last; ++f) area += covered_area(coverage, f);
    chunk.size =
        std::sqrt(std::max(area / static_cast<double>(std::max<int64_t>(frames, 1)), 1e-4));
    // A speed needs two frames; the next one rather than the one before, so that chunks share no
    // pair.
    const int64_t end = frames > 1 ? last : std::min(first + 2, clip.frames());
    const int64_t begin = frames > 1 ? first : end - std::min<int64_t>(2, clip.frames());
    const auto [dx, dy] = mean_displacement(channels.excess, begin, end);
    chunk.speed = std::max(std::abs(dx), std::abs(dy));
    chunk.texture = read_texture(channels, coverage, chunk.size, first, last);
    traits.push_back(chunk);
    first = last;
  }
  return traits;
}

}  // namespace vmla::analysis
