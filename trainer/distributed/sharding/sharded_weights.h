#pragma once

#include "model/weights/local_weights.h"
#include "trainer/distributed/sharding/gathered_units.h"

#include <memory>

namespace vmla::distributed {

/// How weights, gradients and optimizer state are spread (`distributed.sharding`). Every mode is a
/// group over which the flat buffers are cut, a group of ranks that hold the same part, and two
/// answers.
struct ShardingPolicy {
  /// Gathered weights stay until the masters change (replicate, zero1, zero2), or are dropped after
  /// each use (full, hybrid).
  bool keep_gathered = true;
  /// Gradients are summed over the ranks in every backward and only this rank's part is kept
  /// (`gradient_accumulation: scattered`), or stay whole until the step's last one (`local`).
  bool scatter_gradients = false;
  /// Whether hold() keeps gathered weights; else every use gathers.
  bool allow_hold = true;
};

/// Trained weights of which this rank holds a part. master(unit), gradient(unit) and optimizer
/// state are flat buffers of that part; acquire() gathers in the compute dtype, gradients are
/// summed in the masters' dtype over all ranks of both groups.
class ShardedWeights final : public model::TrainedWeights {
 public:
  /// `tensors` as for TrainedWeights: only this rank's elements are read. They lie on `home` and
  /// are gathered on `device`, of which the groups are. `shard`: the ranks over
  /// which buffers are cut; `replica`: those that hold the same part as this one.
  ShardedWeights(const model::ModelConfig& config,
                 const std::map<std::string, at::Tensor>& tensors,
                 const std::string& source,
                 at::Device home,
                 at::Device device,
                 at::ScalarType compute_dtype,
                 at::ScalarType master_dtype,
                 bool with_gradients,
                 const ShardingPolicy& policy,
                 Communicator& shard,
                 Communicator& replica);

  std::vector<at::Tensor> acquire(int64_t unit) override;
  void release(int64_t unit) override;
  void prefetch(int64_t unit) override;
  void hold() override;
  void unhold() override;
  void expect_gradients(int64_t unit) override;
  void add_gradients(int64_t unit, const std::vector<at::Tensor>& gradients) override;

  void zero_gradients() override;
  void begin_last_backward() override { last_backward_ = true; }
  void finish_gradients() override;
  void masters_changed() override;
  int64_t copies() const override { return replica_.size(); }
  bool is_gathered() const override { return is_cut(); }
  std::map<std::string, at::Tensor> tensors_of(int64_t unit) override;

 private:
  bool is_cut() const { return shard_.size() > 1; }
  at::Tensor own_part(int64_t unit, const FlatBuffer& buffer);
  std::vector<at::Tensor>& whole_gradients(int64_t unit);
  void scatter(int64_t unit);
  void reduce(int64_t unit);

  at::Device device_;
  ShardingPolicy policy_;
  Communicator& shard_;
  Communicator& replica_;
  std::unique_ptr<GatheredUnits> gathered_;  // where buffers are cut
  /// Whole, one a buffer of the unit; where they are scattered: until they are.
  std::map<int64_t, std::vector<at::Tensor>> gradients_;
  std::map<int64_t, int64_t> expected_;                 // backwards to come, by unit
  std::map<int64_t, std::vector<Pending>> reductions_;  // under way
  bool last_backward_ = false;
};

/// Frozen weights of which this rank holds a part, in the dtypes they are computed with.
class ShardedFrozenWeights final : public model::WeightSource {
 public:
  ShardedFrozenWeights(const model::ModelConfig& config,
                       const std::map<std::string, at::Tensor>& tensors,
                       const std::string& source,
                       at::Device home,
                       at::Device device,
                       at::ScalarType compute_dtype,
                       bool allow_hold,
                       Communicator& shard);

  std::vector<at::Tensor> acquire(int64_t unit) override { return gathered_.acquire(unit); }
  void release(int64_t unit) override { gathered_.release(unit); }
  void prefetch(int64_t unit) override { gathered_.prefetch(unit); }
  void hold() override;
  void unhold() override;
  void add_gradients(int64_t unit, const std::vector<at::Tensor>& gradients) override;

 private:
  bool allow_hold_;
  std::map<int64_t, std::vector<at::Tensor>> parts_;  // one a buffer of the unit
  GatheredUnits gathered_;
};

}  // namespace vmla::distributed
