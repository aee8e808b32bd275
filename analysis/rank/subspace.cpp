#include "analysis/rank/subspace.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace vmla::analysis {

at::Tensor row_space(const at::Tensor& matrix_rd) {
  const at::Tensor columns = matrix_rd.detach().to(at::kCPU, at::kDouble).t();
  return std::get<0>(at::linalg_qr(columns)).t();
}

Spectrum principal_cosines(const at::Tensor& a_rd, const at::Tensor& b_rd) {
  const at::Tensor product = a_rd.mm(b_rd.t());
  const bool wide = product.size(0) <= product.size(1);
  Spectrum cosines = spectrum_of_gram(wide ? product.mm(product.t()) : product.t().mm(product));
  for (double& cosine : cosines) cosine = std::min(cosine, 1.0);
  return cosines;
}

double subspace_overlap(const Spectrum& cosines) {
  double sum = 0;
  for (const double cosine : cosines) sum += cosine * cosine;
  return cosines.empty() ? 0 : sum / static_cast<double>(cosines.size());
}

}  // namespace vmla::analysis
