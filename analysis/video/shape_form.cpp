#include "analysis/video/shape_form.h"

#include <algorithm>
#include <cmath>

#include "analysis/video/coverage.h"

namespace vmla::analysis {
namespace {

constexpr int64_t kSubpixels = 4;  // a form's coverage is averaged from 4 x 4 points a pixel

struct PlacedForm {
  int shape;
  double size;                   // square root of its area, fraction of the side
  std::array<double, 2> centre;  // x, y
};

// True inside a form of area 1 about its centre of area: the renderer's circle, square and
// equilateral triangle with a side at the bottom (docs/algorithms.md 14.1).
bool is_inside(int shape, double x, double y) {
  if (shape == 0) return x * x + y * y < 0.3183098861837907;  // 1/π
  if (shape == 1) return std::max(std::abs(x), std::abs(y)) < 0.5;
  // The triangle's three sides lie at its inradius 1/√(3√3) from the centre.
  const double inradius = 0.4386913376508308, half_root_3 = 0.8660254037844386;
  return std::max(y, half_root_3 * std::abs(x) - 0.5 * y) < inradius;
}

// The part of a pixel that the form covers, of frames with `side` pixels.
double form_coverage(const PlacedForm& form, int64_t row, int64_t column, int64_t side) {
  const auto fine = static_cast<double>(kSubpixels * side);
  int inside = 0;
  for (int64_t i = 0; i < kSubpixels * kSubpixels; ++i) {
    const double y = static_cast<double>(row * kSubpixels + i / kSubpixels) + 0.5;
    const double x = static_cast<double>(column * kSubpixels + i % kSubpixels) + 0.5;
    inside += is_inside(form.shape,
                        torus_offset(x / fine, form.centre[0]) / form.size,
                        torus_offset(y / fine, form.centre[1]) / form.size);
  }
  return static_cast<double>(inside) / (kSubpixels * kSubpixels);
}

// Squared misfit to one frame's coverage, over interior pixels.
double form_misfit(const ClipLevels& clip,
                   const Foreground& coverage,
                   int64_t frame,
                   const PlacedForm& form) {
  double misfit = 0;
  for (int64_t row = 0; row < coverage.side; ++row) {
    for (int64_t column = 0; column < coverage.side; ++column) {
      if (!clip.is_interior(row, column)) continue;
      const double difference =
          form_coverage(form, row, column, coverage.side) - coverage.at(frame, row, column);
      misfit += difference * difference;
    }
  }
  return misfit;
}

}  // namespace

int read_form(const ClipLevels& clip, const Foreground& coverage) {
  std::vector<double> areas;
  for (int64_t f = 0; f < coverage.frames; ++f) areas.push_back(covered_area(coverage, f));
  std::vector<double> sorted = areas;
  std::ranges::sort(sorted);
  const double area = sorted[sorted.size() / 2];
  const double size = size_of_area(area);
  std::array<double, 3> misfit{};
  for (int64_t f = 0; f < coverage.frames; ++f) {
    if (areas[static_cast<size_t>(f)] < 0.5 * area) continue;  // hardly visible: no form to tell
    const std::array<double, 2> centre = circular_centre(coverage, f);
    for (int shape = 0; shape < 3; ++shape) {
      misfit[static_cast<size_t>(shape)] +=
          form_misfit(clip, coverage, f, {.shape = shape, .size = size, .centre = centre});
    }
  }
  return static_cast<int>(std::min_element(misfit.begin(), misfit.end()) - misfit.begin());
}

}  // namespace vmla::analysis
