#include "analysis/rank/spectrum.h"

#include <ATen/ATen.h>

namespace vmla::analysis {
namespace {

Spectrum to_spectrum(const at::Tensor& values) {
  const at::Tensor cpu = values.to(at::kCPU, at::kDouble).contiguous();
  return {cpu.const_data_ptr<double>(), cpu.const_data_ptr<double>() + cpu.numel()};
}

double total_energy(const Spectrum& spectrum) {
  double total = 0;
  for (const double s : spectrum) total += s * s;
  return total;
}

// The first r whose cumulative energy reaches `threshold`, and that point with its fraction.
struct Crossing {
  int64_t rank = 0;
  double fractional = 0;
};

Crossing find_crossing(const Spectrum& spectrum, double threshold) {
  double before = 0;
  for (size_t i = 0; i < spectrum.size(); ++i) {
    const double energy = spectrum[i] * spectrum[i];
    if (before + energy >= threshold) {
      const double fraction = energy > 0 ? (threshold - before) / energy : 1.0;
      return {static_cast<int64_t>(i) + 1, static_cast<double>(i) + fraction};
    }
    before += energy;
  }
  // Only reached when rounding leaves the sum a hair below the threshold (energy = 1).
  return {static_cast<int64_t>(spectrum.size()), static_cast<double>(spectrum.size())};
}

}  // namespace

Spectrum singular_values(const at::Tensor& matrix_mn) {
  TORCH_CHECK(matrix_mn.dim() == 2, "a spectrum needs a matrix, got sizes ", matrix_mn.sizes());
  const int64_t rows = matrix_mn.size(0), columns = matrix_mn.size(1);
  if (rows == 0 || columns == 0) return {};
  const at::Tensor matrix = matrix_mn.detach().to(at::kCPU, at::kDouble);
  if (rows >= 2 * columns) return spectrum_of_gram(matrix.t().mm(matrix));
  if (columns >= 2 * rows) return spectrum_of_gram(matrix.mm(matrix.t()));
  return to_spectrum(at::linalg_svdvals(matrix));
}

Spectrum spectrum_of_gram(const at::Tensor& gram_nn) {
  const at::Tensor eigenvalues = at::linalg_eigvalsh(gram_nn);  // ascending
  return to_spectrum(eigenvalues.clamp_min(0).sqrt().flip(0));
}

EffectiveRank effective_rank(const Spectrum& spectrum) {
  const double total = total_energy(spectrum);
  if (!(total > 0)) return {};
  const Crossing crossing = find_crossing(spectrum, kRankEnergy * total);
  double entropy = 0;
  for (const double s : spectrum) {
    const double p = s * s / total;
    if (p > 0) entropy -= p * std::log(p);  // p ln p -> 0 as p -> 0
  }
  return {crossing.rank,
          crossing.fractional,
          total / (spectrum.front() * spectrum.front()),
          std::exp(entropy)};
}

double fractional_rank(const Spectrum& spectrum, double energy) {
  TORCH_CHECK(energy > 0 && energy <= 1, "energy must lie in (0, 1], got ", energy);
  const double total = total_energy(spectrum);
  return total > 0 ? find_crossing(spectrum, energy * total).fractional : 0.0;
}

double energy_at(const Spectrum& spectrum, int64_t rank) {
  const double total = total_energy(spectrum);
  if (!(total > 0)) return 0;
  if (rank >= static_cast<int64_t>(spectrum.size())) return 1;
  double kept = 0;
  for (int64_t i = 0; i < rank; ++i) {
    kept += spectrum[static_cast<size_t>(i)] * spectrum[static_cast<size_t>(i)];
  }
  return kept / total;
}

}  // namespace vmla::analysis
