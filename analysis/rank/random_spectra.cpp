#include "analysis/rank/random_spectra.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "kernels/counter_rng/counter_rng.h"

namespace vmla::analysis {
namespace {

/// Draws 0 and 1 of Purpose::kNull are the factors of the random product (rank_tracker.cpp).
constexpr uint64_t kGaussianDraw = 2;

template <class T>
void shuffle(T* values, int64_t count, std::mt19937_64& generator) {
  // Fisher and Yates. (std::shuffle draws differently in every library.) The multiplication takes
  // the high bits of 64, so that its bias is below count / 2^64.
  for (int64_t i = count - 1; i > 0; --i) {
    const auto wide = static_cast<unsigned __int128>(generator()) * static_cast<uint64_t>(i + 1);
    std::swap(values[i], values[static_cast<int64_t>(wide >> 64)]);
  }
}

at::Tensor gaussian_matrix(int64_t rows, int64_t columns, uint64_t seed) {
  const kernels::DrawKey key{seed, 0, kernels::Purpose::kNull, 0, kGaussianDraw};
  return kernels::normal(key, {rows, columns}).to(at::kDouble);
}

Spectrum spectrum_of_smaller_gram(const at::Tensor& matrix_mn) {
  const bool tall = matrix_mn.size(0) > matrix_mn.size(1);
  return spectrum_of_gram(tall ? matrix_mn.t().mm(matrix_mn) : matrix_mn.mm(matrix_mn.t()));
}

}  // namespace

Spectrum gaussian_spectrum(int64_t rows, int64_t columns, uint64_t seed) {
  return spectrum_of_smaller_gram(gaussian_matrix(rows, columns, seed));
}

Spectrum gaussian_rows_spectrum(const at::Tensor& row_norms_m, int64_t columns, uint64_t seed) {
  const at::Tensor matrix = gaussian_matrix(row_norms_m.size(0), columns, seed);
  const at::Tensor scale_m1 = (row_norms_m / matrix.norm(2, {1})).unsqueeze(1);
  return spectrum_of_smaller_gram(matrix * scale_m1);
}

at::Tensor shuffled_entries(const at::Tensor& matrix_mn, uint64_t seed) {
  const bool is_double = matrix_mn.scalar_type() == at::kDouble;
  at::Tensor result = at::empty(matrix_mn.sizes(), is_double ? at::kDouble : at::kFloat);
  result.copy_(matrix_mn.detach());
  std::mt19937_64 generator(seed);
  if (is_double) {
    shuffle(result.data_ptr<double>(), result.numel(), generator);
  } else {
    shuffle(result.data_ptr<float>(), result.numel(), generator);
  }
  return result;
}

double marchenko_pastur_edge(const Spectrum& spectrum, int64_t rows, int64_t columns) {
  double energy = 0;
  for (const double s : spectrum) energy += s * s;
  const auto m = static_cast<double>(rows), n = static_cast<double>(columns);
  return std::sqrt(energy / (m * n)) * (std::sqrt(m) + std::sqrt(n));
}

int64_t values_above(const Spectrum& spectrum, double edge) {
  return std::ranges::count_if(spectrum, [edge](double s) { return s > edge; });
}

}  // namespace vmla::analysis
