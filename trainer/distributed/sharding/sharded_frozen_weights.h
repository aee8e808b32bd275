#pragma once

#include "model/weights/weight_source.h"
#include "trainer/distributed/sharding/gathered_units.h"

#include <map>
#include <string>
#include <vector>

namespace vmla::distributed {

/// Frozen weights of which this rank holds a part, in the dtypes that they are computed with. A
/// unit is gathered for each use, and dropped after it unless it is held.
class ShardedFrozenWeights final : public model::WeightSource {
 public:
  /// Lives for the time of the constructor, save for the group, which outlives the weights.
  struct Setup {
    const model::ModelConfig& config;
    /// Whole tensors by their Wan names; only this rank's elements of them are read.
    const std::map<std::string, at::Tensor>& tensors;
    /// Where the tensors come from: stands in front of errors.
    std::string source;
    /// Where this rank's part lies; units are gathered on the device that uses it.
    model::Home home;
    at::ScalarType compute_dtype;
    /// Whether hold() keeps units gathered over several passes; else it changes nothing.
    bool allow_hold;
    /// The ranks over which buffers are cut.
    Communicator& shard;
  };
  explicit ShardedFrozenWeights(const Setup& setup);
  ~ShardedFrozenWeights() override;

  std::vector<at::Tensor> acquire(int64_t unit) override { return gathered_.acquire(unit); }
  void release(int64_t unit) override { gathered_.release(unit); }
  void prefetch(int64_t unit) override { gathered_.prefetch(unit); }
  void hold() override;
  void unhold() override;
  void add_gradients(int64_t unit, const std::vector<at::Tensor>& gradients) override;

 private:
  bool allow_hold_;
  model::Home home_;
  std::map<int64_t, std::vector<at::Tensor>> parts_;  // [part_numel], one a buffer of the unit
  GatheredUnits gathered_;
};

}  // namespace vmla::distributed
