#include "analysis/video/coverage.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "data/synth/moving_shapes.h"

namespace vmla::analysis {
namespace {

constexpr double kLeastStep = 0.25;
constexpr double kMostCoverage = 1.2;
constexpr double kLeastArea = 1e-4;

}  // namespace

BrightChannels bright_channels(const ClipLevels& clip, int colour) {
  const auto& on = data::kColourChannels.at(static_cast<size_t>(colour));
  const double count = std::accumulate(on.begin(), on.end(), 0.0);
  BrightChannels result{.excess = Foreground(clip.frames(), clip.side()),
                        .background = Foreground(1, clip.side())};
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

double surface_intensity(const Foreground& interior) {
  double squares = 0, cubes = 0;
  for (const double v : interior.values) {
    squares += v * v;
    cubes += v * v * v;
  }
  return squares > 0 ? cubes / squares : 1.0;
}

Foreground coverage_of(const BrightChannels& channels, double intensity) {
  Foreground coverage = channels.excess;
  for (int64_t f = 0; f < coverage.frames; ++f) {
    for (int64_t row = 0; row < coverage.side; ++row) {
      for (int64_t column = 0; column < coverage.side; ++column) {
        // In front of the border only the step from its level to the shape's is seen. The floor
        // keeps a faint shape before a bright border from blowing up.
        const double step =
            std::max(intensity - channels.background.at(0, row, column), kLeastStep);
        coverage.at(f, row, column) =
            std::clamp(coverage.at(f, row, column) / step, 0.0, kMostCoverage);
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

double size_of_area(double area) {
  return std::sqrt(std::max(area, kLeastArea));
}

}  // namespace vmla::analysis
