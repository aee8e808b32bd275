#include "analysis/study/weight_spectra.h"

#include <ATen/ATen.h>

#include <optional>

#include "model/io/error.h"

namespace vmla::analysis {
namespace {

const at::Tensor* find(const model::TensorMap& tensors, const std::string& name) {
  const auto found = tensors.find(name);
  return found == tensors.end() ? nullptr : &found->second;
}

// A tensor of the file and what it is called there.
struct NamedTensor {
  const at::Tensor& weight;
  std::string name;
};

// UserError unless the tensor is a finite matrix. `width`: how many columns it must have, where
// that is known.
void check_matrix(const NamedTensor& tensor,
                  std::optional<int64_t> width,
                  const std::string& source) {
  const at::Tensor& weight = tensor.weight;
  const bool is_matrix =
      weight.dim() == 2 && weight.numel() > 0 && at::isFloatingType(weight.scalar_type());
  if (!is_matrix || (width && weight.size(1) != *width)) {
    const std::string expected =
        width ? formatted("a matrix with {} columns, as its layer's keys", *width) : "a matrix";
    fail_user("{}: the tensor {} has sizes {}; expected {}",
              source,
              tensor.name,
              weight.sizes(),
              expected);
  }
  if (!weight.isfinite().all().item<bool>())
    fail_user("{}: the tensor {} holds NaN or infinity", source, tensor.name);
}

// `k_weight` and `v_weight`: [rows, D] each.
LayerSpectra spectra_of(const at::Tensor& k_weight, const at::Tensor& v_weight) {
  const at::Tensor k = k_weight.to(at::kDouble), v = v_weight.to(at::kDouble);
  const at::Tensor k_gram = k.t().mm(k), v_gram = v.t().mm(v);
  // A matrix with m rows has at most m singular values, its Gram matrix as many eigenvalues as
  // columns.
  const auto of_gram = [](const at::Tensor& gram, int64_t rows) {
    Spectrum spectrum = spectrum_of_gram(gram);
    spectrum.resize(static_cast<size_t>(std::min<int64_t>(rows, gram.size(0))));
    return spectrum;
  };
  return {of_gram(k_gram, k.size(0)),
          of_gram(v_gram, v.size(0)),
          of_gram(k_gram + v_gram, k.size(0) + v.size(0))};
}

}  // namespace

std::vector<LayerSpectra> weight_spectra(const model::TensorMap& tensors,
                                         const KvNames& names,
                                         const std::string& source) {
  std::vector<LayerSpectra> layers;
  for (int64_t i = 0;; ++i) {
    const std::string k_name = name_of_layer(names.k, i), v_name = name_of_layer(names.v, i);
    const at::Tensor* k = find(tensors, k_name);
    const at::Tensor* v = find(tensors, v_name);
    if (k == nullptr && v == nullptr) break;
    if (k == nullptr) fail_user("{}: has {} but no {}", source, v_name, k_name);
    if (v == nullptr) fail_user("{}: has {} but no {}", source, k_name, v_name);
    check_matrix({*k, k_name}, std::nullopt, source);
    check_matrix({*v, v_name}, k->size(1), source);
    layers.push_back(spectra_of(*k, *v));
  }
  if (layers.empty()) {
    fail_user(
        "{}: has no tensor {}; this command needs a dense model (for latent attention use `vmla "
        "analyze rank`), or a --map to its names",
        source,
        name_of_layer(names.k, 0));
  }
  return layers;
}

}  // namespace vmla::analysis
