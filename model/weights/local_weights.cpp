#include "model/weights/local_weights.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "model/io/error.h"

namespace vmla::model {

at::ScalarType exact_dtype(at::ScalarType compute) {
  return compute == at::kDouble ? at::kDouble : at::kFloat;
}

at::ScalarType compute_dtype_of(const TensorSpec& spec,
                                at::ScalarType compute,
                                at::ScalarType exact) {
  const bool is_matrix = spec.shape.size() == 2 || spec.shape.size() == 5;
  // Of a product, which adds it in its own dtype; a norm's is added to statistics.
  const bool is_bias = spec.name.ends_with(".bias") && spec.name.find("norm") == std::string::npos;
  const bool is_exact = spec.name.starts_with("time_") || spec.name.starts_with("head.");
  return (is_matrix || is_bias) && !is_exact ? compute : exact;
}

FrozenWeights::FrozenWeights(const ModelConfig& config,
                             const std::map<std::string, at::Tensor>& tensors,
                             const std::string& source,
                             at::Device device,
                             at::ScalarType compute_dtype,
                             MatrixOrder order) {
  check_weights(config, tensors, source);
  for (int64_t unit : all_units(config)) {
    for (const auto& spec : unit_layout(config, unit)) {
      const at::Tensor tensor =
          tensors.at(spec.name)
              .to(device, compute_dtype_of(spec, compute_dtype, exact_dtype(compute_dtype)))
              .contiguous();
      units_[unit].push_back(order == MatrixOrder::kForPasses ? laid_for_passes(tensor) : tensor);
    }
  }
}

std::vector<at::Tensor> FrozenWeights::acquire(int64_t unit) {
  return units_.at(unit);
}

void FrozenWeights::add_gradients(int64_t unit, const std::vector<at::Tensor>&) {
  TORCH_CHECK(false, "frozen weights take no gradient, unit: ", unit);
}

FlatPart whole_unit(const std::vector<TensorSpec>& layout) {
  FlatPart part;
  for (size_t i = 0; i < layout.size(); ++i) {
    part.pieces.push_back(
        {.tensor = i, .first = 0, .count = layout[i].numel, .offset = layout[i].offset});
    part.numel += layout[i].numel;
  }
  return part;
}

TrainedWeights::TrainedWeights(const ModelConfig& config,
                               const std::map<std::string, at::Tensor>& tensors,
                               const std::string& source,
                               const Home& home,
                               at::ScalarType compute_dtype,
                               at::ScalarType master_dtype,
                               bool with_gradients)
    : TrainedWeights(
          config, tensors, source, home, compute_dtype, master_dtype, with_gradients, whole_unit) {}

TrainedWeights::TrainedWeights(const ModelConfig& config,
                               const std::map<std::string, at::Tensor>& tensors,
                               const std::string& source,
                               const Home& home,
                               at::ScalarType compute_dtype,
                               at::ScalarType master_dtype,
                               bool with_gradients,
                               const Cut& cut)
    : config_(config), compute_dtype_(compute_dtype), units_(all_units(config)) {
  check_weights(config, tensors, source);
  HomeBuffers buffers(home, formatted("weights of {}", source));
  for (int64_t index : units_) {
    Unit& unit = storage_[index];
    unit.layout = unit_layout(config, index);
    unit.part = cut(unit.layout);
    int64_t covered = 0;
    for (const FlatPiece& piece : unit.part.pieces) covered += piece.count;
    const bool padded = covered < unit.part.numel;
    unit.master = padded ? buffers.zeros(unit.part.numel, master_dtype)
                         : buffers.empty(unit.part.numel, master_dtype);
    if (with_gradients) unit.gradient = at::zeros_like(unit.master);
    for (const FlatPiece& piece : unit.part.pieces) {
      const at::Tensor& whole = tensors.at(unit.layout[piece.tensor].name);
      unit.master.narrow(0, piece.offset, piece.count)
          .copy_(whole.reshape({-1}).narrow(0, piece.first, piece.count));
    }
    // Gradients can be added tensor by tensor only where the unit is here as a whole.
    if (!with_gradients || unit.part.pieces != whole_unit(unit.layout).pieces) continue;
    for (const TensorSpec& spec : unit.layout) {
      unit.gradient_views.push_back(
          unit.gradient.narrow(0, spec.offset, spec.numel).view(spec.shape));
    }
  }
}

std::vector<at::Tensor> TrainedWeights::acquire(int64_t index) {
  Unit& unit = at(index);
  if (!unit.compute.empty()) return unit.compute;
  // All of the unit is cast at once, though a few tensors are used in the master's dtype: one
  // buffer, which an optimizer can write as it goes.
  const at::ScalarType exact = unit.master.scalar_type();
  if (compute_dtype_ != exact) unit.compute_copy = unit.master.to(compute_dtype_);
  unit.compute = views(unit, unit.master, unit.compute_copy);
  return unit.compute;
}

std::vector<at::Tensor> TrainedWeights::views(const Unit& unit,
                                              const at::Tensor& master,
                                              const at::Tensor& copy) const {
  const at::ScalarType exact = master.scalar_type();
  std::vector<at::Tensor> tensors;
  for (const auto& spec : unit.layout) {
    const bool is_copied = compute_dtype_of(spec, compute_dtype_, exact) != exact;
    const at::Tensor& flat = is_copied ? copy : master;
    tensors.push_back(flat.narrow(0, spec.offset, spec.numel).view(spec.shape));
  }
  return tensors;
}

std::vector<at::Tensor> TrainedWeights::tensors_from(int64_t index,
                                                     const at::Tensor& master) const {
  const at::ScalarType exact = master.scalar_type();
  if (compute_dtype_ == exact) return views(at(index), master, {});
  std::vector<at::Tensor> tensors = views(at(index), master, master.to(compute_dtype_));
  for (at::Tensor& tensor : tensors) {
    if (tensor.scalar_type() == exact) tensor = tensor.clone();
  }
  return tensors;
}

void TrainedWeights::add_gradients(int64_t index, const std::vector<at::Tensor>& gradients) {
  const at::NoGradGuard no_grad;
  Unit& unit = at(index);
  TORCH_CHECK(gradients.size() == unit.gradient_views.size(),
              "gradients of a unit: ",
              gradients.size(),
              " of ",
              unit.gradient_views.size());
  for (size_t i = 0; i < gradients.size(); ++i) {
    if (gradients[i].defined()) unit.gradient_views[i].add_(gradients[i]);
  }
}

void TrainedWeights::zero_gradients() {
  for (auto& [index, unit] : storage_) {
    if (unit.gradient.defined()) unit.gradient.zero_();
  }
}

void TrainedWeights::drop_copies() {
  for (auto& [index, unit] : storage_) {
    if (!unit.compute_copy.defined()) continue;
    unit.compute_copy.reset();
    unit.compute.clear();
  }
}

std::map<std::string, at::Tensor> TrainedWeights::tensors_of(int64_t index) {
  const Unit& unit = at(index);
  std::map<std::string, at::Tensor> named;
  for (const auto& spec : unit.layout)
    named[spec.name] = unit.master.narrow(0, spec.offset, spec.numel).view(spec.shape);
  return named;
}

std::map<std::string, at::Tensor> TrainedWeights::tensors() {
  std::map<std::string, at::Tensor> named;
  for (const int64_t unit : units_) named.merge(tensors_of(unit));
  return named;
}

std::map<std::string, at::Tensor> TrainedWeights::gradients() const {
  std::map<std::string, at::Tensor> named;
  for (const auto& [index, unit] : storage_) {
    for (size_t i = 0; i < unit.gradient_views.size(); ++i)
      named[unit.layout[i].name] = unit.gradient_views[i];
  }
  return named;
}

}  // namespace vmla::model
