#include "analysis/video/surface_texture.h"

#include <algorithm>

namespace vmla::analysis {
namespace {

using Matrix = std::array<std::array<double, 4>, 4>;

// Solves the normal equations a t = b by Gaussian elimination. `a` is symmetric; a small ridge
// makes it positive definite where few pixels leave it singular.
Texture solve(Matrix a, Texture b) {
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

// The shape's centre in a frame, from a mask that saturates at a coverage of 0.6: a slope of the
// texture does not move it.
std::array<double, 2> saturated_centre(const Foreground& coverage, int64_t frame) {
  Foreground mask(1, coverage.side);
  for (int64_t row = 0; row < mask.side; ++row) {
    for (int64_t column = 0; column < mask.side; ++column) {
      mask.at(0, row, column) = std::min(1.0, coverage.at(frame, row, column) / 0.6);
    }
  }
  return circular_centre(mask, 0);
}

}  // namespace

Texture read_texture(const BrightChannels& channels,
                     const Foreground& coverage,
                     double size,
                     int64_t first,
                     int64_t last) {
  const int64_t side = coverage.side;
  const double pixels = static_cast<double>(side);
  Matrix normal{};
  Texture right{};
  for (int64_t f = first; f < last; ++f) {
    const std::array<double, 2> centre = saturated_centre(coverage, f);
    for (int64_t row = 0; row < side; ++row) {
      for (int64_t column = 0; column < side; ++column) {
        // Edge pixels are only partly the shape's.
        const double weight = coverage.at(f, row, column) - 0.55;
        if (weight <= 0) continue;
        const double u =
            torus_offset((static_cast<double>(column) + 0.5) / pixels, centre[0]) / size;
        const double v = torus_offset((static_cast<double>(row) + 0.5) / pixels, centre[1]) / size;
        const Texture basis = {1.0, u, v, u * v};
        const double level =
            channels.excess.at(f, row, column) + channels.background.at(0, row, column);
        for (size_t i = 0; i < 4; ++i) {
          right[i] += weight * basis[i] * level;
          for (size_t j = 0; j < 4; ++j) normal[i][j] += weight * basis[i] * basis[j];
        }
      }
    }
  }
  return solve(normal, right);
}

}  // namespace vmla::analysis
