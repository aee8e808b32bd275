#pragma once

#include "model/weights/home_buffers.h"
#include "model/weights/matrix_order.h"
#include "model/weights/weight_source.h"
#include "model/weights/weights.h"

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace vmla::model {

/// The dtype that a tensor has in a network that computes in `compute`. Matrices and the biases of
/// their products are in that dtype. Norm gains and modulation are in `exact`, and so are the time
/// embedding and the head, whose rounding errors would move the noise schedule (docs/algorithms.md
/// 2.9).
at::ScalarType compute_dtype_of(const TensorSpec& spec,
                                at::ScalarType compute,
                                at::ScalarType exact);

/// The dtype of what is not rounded to `compute`: fp64 when that is fp64, else fp32.
at::ScalarType exact_dtype(at::ScalarType compute);

/// Frozen weights, all of them in this process. Each tensor is cast to its dtype
/// (compute_dtype_of) and moved to the device once, in the constructor. A tensor that needs neither
/// is kept as it was given: a mapped file stays mapped, unless its matrices are to be laid
/// otherwise.
class FrozenWeights : public WeightSource {
 public:
  /// Checks names and shapes (check_weights); `source` names the weights in its message.
  FrozenWeights(const ModelConfig& config,
                const std::map<std::string, at::Tensor>& tensors,
                const std::string& source,
                at::Device device = at::kCPU,
                at::ScalarType compute_dtype = at::kFloat,
                MatrixOrder order = MatrixOrder::kAsGiven);

  std::vector<at::Tensor> acquire(int64_t unit) override;
  void release(int64_t) override {}
  void add_gradients(int64_t unit, const std::vector<at::Tensor>& gradients) override;
  bool is_fixed() const override { return true; }

 private:
  std::map<int64_t, std::vector<at::Tensor>> units_;
};

/// Consecutive elements of one tensor, and their place in a flat buffer of this process.
struct FlatPiece {
  size_t tensor = 0;  // index in the unit's layout
  int64_t first = 0;  // element of the whole tensor, row-major
  int64_t count = 0;
  int64_t offset = 0;  // in the buffer
  bool operator==(const FlatPiece&) const = default;
};

/// Which of a unit's elements this process holds, in a flat buffer of `numel` elements. Elements
/// that no piece covers are padding, and zero.
struct FlatPart {
  std::vector<FlatPiece> pieces;
  int64_t numel = 0;
};

/// All elements of a unit, tensor after tensor, without padding.
FlatPart whole_unit(const std::vector<TensorSpec>& layout);

/// Trained weights: each unit has one flat master buffer and one flat gradient buffer, both fp32
/// (fp64 in fp64 runs). This class holds all of them in this process. Classes for weights that are
/// sharded over ranks derive from it and override what gathers and what reduces.
class TrainedWeights : public WeightSource {
 public:
  TrainedWeights(const ModelConfig& config,
                 const std::map<std::string, at::Tensor>& tensors,
                 const std::string& source,
                 const Home& home = at::kCPU,
                 at::ScalarType compute_dtype = at::kFloat,
                 at::ScalarType master_dtype = at::kFloat,
                 bool with_gradients = true);

  std::vector<at::Tensor> acquire(int64_t unit) override;
  void release(int64_t) override {}
  void add_gradients(int64_t unit, const std::vector<at::Tensor>& gradients) override;

  const ModelConfig& config() const { return config_; }
  const std::vector<int64_t>& units() const { return units_; }
  const std::vector<TensorSpec>& layout(int64_t unit) const { return at(unit).layout; }
  /// Which elements master(unit), gradient(unit) and the optimizer's buffers hold in this process.
  const FlatPart& part(int64_t unit) const { return at(unit).part; }
  at::Tensor& master(int64_t unit) { return at(unit).master; }
  /// Summed over ranks once finish_gradients() has returned.
  at::Tensor& gradient(int64_t unit) { return at(unit).gradient; }
  virtual void zero_gradients();
  /// Announces the last backward before an optimizer step: as soon as it has passed a unit, that
  /// unit's gradient may be reduced over ranks.
  virtual void begin_last_backward() {}
  /// Reduces what is left. When it returns, gradient(unit) holds the sum over all ranks.
  virtual void finish_gradients() {}
  /// The copy of a unit in the compute dtype, laid out as master(unit). Undefined where there is
  /// none: before the first acquire(), where both dtypes are the same, and of a part of a unit,
  /// which is cast when it is gathered.
  at::Tensor compute_copy(int64_t unit) { return at(unit).compute_copy; }
  /// Drops the copies in the compute dtype, and what is gathered; the next acquire() makes them
  /// anew. Must be called after the masters were written without them.
  virtual void drop_copies();
  /// Must be called after the masters were written together with every compute_copy().
  virtual void masters_and_copies_changed() {}
  /// A unit's tensors as acquire() gives them, out of a copy of master(unit) on any device: views
  /// of it where the unit is computed with in its dtype, else tensors of their own, so that it can
  /// go.
  std::vector<at::Tensor> tensors_from(int64_t unit, const at::Tensor& master) const;
  /// How many ranks hold the same part of each unit.
  virtual int64_t copies() const { return 1; }
  /// Whether tensors_of() communicates: then every rank must call it.
  virtual bool is_gathered() const { return false; }

  /// A unit's whole tensors by name. Views into the masters where this process holds all of them
  /// (they change with later updates: clone to keep), else gathered copies.
  virtual std::map<std::string, at::Tensor> tensors_of(int64_t unit);
  /// The whole tensors of all units.
  std::map<std::string, at::Tensor> tensors();
  /// Views into the gradient buffers by name. Empty where this process holds only parts.
  std::map<std::string, at::Tensor> gradients() const;

 protected:
  using Cut = std::function<FlatPart(const std::vector<TensorSpec>&)>;
  /// Holds of each unit the part that `cut` returns for its layout.
  TrainedWeights(const ModelConfig& config,
                 const std::map<std::string, at::Tensor>& tensors,
                 const std::string& source,
                 const Home& home,
                 at::ScalarType compute_dtype,
                 at::ScalarType master_dtype,
                 bool with_gradients,
                 const Cut& cut);

  struct Unit {
    std::vector<TensorSpec> layout;
    FlatPart part;
    at::Tensor master, gradient;             // [part.numel]
    at::Tensor compute_copy;                 // [part.numel], see compute_copy()
    std::vector<at::Tensor> compute;         // tensors as acquired; empty: to be made
    std::vector<at::Tensor> gradient_views;  // where this process holds the whole unit
  };
  Unit& at(int64_t unit) { return storage_.at(unit); }
  const Unit& at(int64_t unit) const { return storage_.at(unit); }

  at::ScalarType compute_dtype() const { return compute_dtype_; }

 private:
  std::vector<at::Tensor> views(const Unit& unit,
                                const at::Tensor& master,
                                const at::Tensor& copy) const;

  ModelConfig config_;
  at::ScalarType compute_dtype_;
  std::vector<int64_t> units_;
  std::map<int64_t, Unit> storage_;
};

}  // namespace vmla::model
