#pragma once

#include "model/weight_source.h"
#include "model/weights.h"

#include <map>
#include <string>
#include <vector>

namespace vmla::model {

/// The dtype a tensor of a network that computes in `compute` has. Matrix products run in that
/// dtype; what they leave alone (norm gains, biases, modulation) and the time embedding and head,
/// whose precision decides the schedule, stay as exact as the masters (algorithms 2.5).
at::ScalarType compute_dtype_of(const TensorSpec& spec,
                                at::ScalarType compute,
                                at::ScalarType exact);

/// Frozen weights in this process, kept as they were given (a mapped file stays mapped). Matrices
/// are cast to the compute dtype, the rest to fp32 (fp64 when computing in fp64), on the device,
/// once.
class FrozenWeights : public WeightSource {
 public:
  /// Checks names and shapes; `source` stands in front of the error.
  FrozenWeights(const ModelConfig& config,
                const std::map<std::string, at::Tensor>& tensors,
                const std::string& source,
                at::Device device = at::kCPU,
                at::ScalarType compute_dtype = at::kFloat);

  std::vector<at::Tensor> acquire(int64_t unit) override;
  void release(int64_t) override {}
  void add_gradients(int64_t unit, const std::vector<at::Tensor>& gradients) override;

 private:
  std::map<int64_t, std::vector<at::Tensor>> units_;
};

/// Trained weights in this process: one flat fp32 master buffer and one flat fp32 gradient buffer a
/// unit.
class TrainedWeights : public WeightSource {
 public:
  TrainedWeights(const ModelConfig& config,
                 const std::map<std::string, at::Tensor>& tensors,
                 const std::string& source,
                 at::Device device = at::kCPU,
                 at::ScalarType compute_dtype = at::kFloat,
                 at::ScalarType master_dtype = at::kFloat,
                 bool with_gradients = true);

  std::vector<at::Tensor> acquire(int64_t unit) override;
  void release(int64_t) override {}
  void add_gradients(int64_t unit, const std::vector<at::Tensor>& gradients) override;

  const ModelConfig& config() const { return config_; }
  const std::vector<int64_t>& units() const { return units_; }
  const std::vector<TensorSpec>& layout(int64_t unit) const { return at(unit).layout; }
  at::Tensor& master(int64_t unit) { return at(unit).master; }
  at::Tensor& gradient(int64_t unit) { return at(unit).gradient; }
  void zero_gradients();
  /// To be called after the masters were written: compute copies in another dtype are made anew.
  void masters_changed();

  /// Named views into the masters / the gradients. They follow later updates: clone to keep.
  std::map<std::string, at::Tensor> tensors() const;
  std::map<std::string, at::Tensor> gradients() const;

 private:
  struct Unit {
    std::vector<TensorSpec> layout;
    at::Tensor master, gradient;      // [n]
    std::vector<at::Tensor> compute;  // tensors as acquired; empty: to be made
    std::vector<at::Tensor> gradient_views;
  };
  Unit& at(int64_t unit) { return storage_.at(unit); }
  const Unit& at(int64_t unit) const { return storage_.at(unit); }

  ModelConfig config_;
  at::ScalarType compute_dtype_;
  std::vector<int64_t> units_;
  std::map<int64_t, Unit> storage_;
};

}  // namespace vmla::model
