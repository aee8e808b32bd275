#pragma once

#include "model/weights/weight_source.h"
#include "model/weights/weights.h"

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace vmla::model {

/// The dtype a tensor of a network that computes in `compute` has. Matrix products run in that
/// dtype; what they leave alone (norm gains, biases, modulation) and the time embedding and head,
/// whose precision decides the schedule, stay as exact as the masters (docs/algorithms.md 2.9).
at::ScalarType compute_dtype_of(const TensorSpec& spec,
                                at::ScalarType compute,
                                at::ScalarType exact);

/// What stays exact in a network that computes in `compute`: fp64 when that is fp64, else fp32.
at::ScalarType exact_dtype(at::ScalarType compute);

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

/// A run of a tensor's elements in a flat buffer of this process.
struct FlatPiece {
  size_t tensor = 0;  // index in the unit's layout
  int64_t first = 0;  // element of the whole tensor, row-major
  int64_t count = 0;
  int64_t offset = 0;  // in the buffer
  bool operator==(const FlatPiece&) const = default;
};

/// What this process holds of a unit's elements: a buffer of `numel`, in which what no piece covers
/// is padding and zero.
struct FlatPart {
  std::vector<FlatPiece> pieces;
  int64_t numel = 0;
};

/// All of a unit, tensor after tensor.
FlatPart whole_unit(const std::vector<TensorSpec>& layout);

/// Trained weights: one flat fp32 master buffer and one flat fp32 gradient buffer a unit. Here this
/// process holds all of them; what is spread over ranks derives from it and overrides what must be
/// gathered or summed.
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
  /// What master(unit), gradient(unit) and every buffer of their length hold, in this process.
  const FlatPart& part(int64_t unit) const { return at(unit).part; }
  at::Tensor& master(int64_t unit) { return at(unit).master; }
  /// Complete once finish_gradients() has returned.
  at::Tensor& gradient(int64_t unit) { return at(unit).gradient; }
  virtual void zero_gradients();
  /// The backward that begins now is the optimizer step's last one: a unit's gradients may be
  /// summed over ranks as soon as it is through.
  virtual void begin_last_backward() {}
  /// Gradients of all ranks are in gradient(unit) when it returns.
  virtual void finish_gradients() {}
  /// To be called after the masters were written: compute copies in another dtype are made anew.
  virtual void masters_changed();
  /// How many ranks hold the same part.
  virtual int64_t copies() const { return 1; }
  /// Whether tensors_of() has to gather.
  virtual bool is_gathered() const { return false; }

  /// A unit's whole tensors by name: views into the masters where this process holds them (they
  /// follow later updates: clone to keep), else gathered; every rank must call.
  virtual std::map<std::string, at::Tensor> tensors_of(int64_t unit);
  /// Those of all units.
  std::map<std::string, at::Tensor> tensors();
  /// Named views into the gradients, where this process holds them whole.
  std::map<std::string, at::Tensor> gradients() const;

 protected:
  using Cut = std::function<FlatPart(const std::vector<TensorSpec>&)>;
  /// Holds the part of each unit that `cut` says.
  TrainedWeights(const ModelConfig& config,
                 const std::map<std::string, at::Tensor>& tensors,
                 const std::string& source,
                 at::Device device,
                 at::ScalarType compute_dtype,
                 at::ScalarType master_dtype,
                 bool with_gradients,
                 const Cut& cut);

  struct Unit {
    std::vector<TensorSpec> layout;
    FlatPart part;
    at::Tensor master, gradient;             // [part.numel]
    std::vector<at::Tensor> compute;         // tensors as acquired; empty: to be made
    std::vector<at::Tensor> gradient_views;  // where this process holds the whole unit
  };
  Unit& at(int64_t unit) { return storage_.at(unit); }
  const Unit& at(int64_t unit) const { return storage_.at(unit); }

  at::ScalarType compute_dtype() const { return compute_dtype_; }

 private:
  ModelConfig config_;
  at::ScalarType compute_dtype_;
  std::vector<int64_t> units_;
  std::map<int64_t, Unit> storage_;
};

}  // namespace vmla::model
