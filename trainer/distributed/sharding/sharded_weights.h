#pragma once

#include "model/weights/local_weights.h"
#include "trainer/distributed/sharding/gathered_units.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace vmla::distributed {

/// When gathered weights are dropped, and when gradients are summed. With the two groups of
/// ShardedWeights::Setup this makes every value of `distributed.sharding` (sharding_mode.h).
struct ShardingPolicy {
  /// Gathered weights stay until the masters change (zero1, zero2); else a unit is dropped after
  /// each use (full, hybrid).
  bool keep_gathered = true;
  /// Gradients are reduce-scattered in every backward, and only this rank's part is kept between
  /// them (`gradient_accumulation: scattered`); else full-size gradients add up on each rank until
  /// the step's last backward (`local`).
  bool scatter_gradients = false;
  /// Whether hold() keeps units gathered over several passes; else it changes nothing.
  bool allow_hold = true;
};

/// Trained weights of which this rank holds a part. master(unit), gradient(unit) and the optimizer
/// state are flat buffers [part(unit).numel] of that part; acquire() gathers whole tensors in the
/// compute dtype. When finish_gradients() returns, gradient(unit) is the sum over all ranks of both
/// groups, formed in the masters' dtype.
///
/// Where the shard group has one member nothing is cut: each rank has whole weights, and only
/// gradients are summed, over the replicas.
///
/// One thread a rank. Every rank makes the same calls in the same order, for most of them start a
/// collective.
class ShardedWeights final : public model::TrainedWeights {
 public:
  /// Lives for the time of the constructor, save for the groups, which outlive the weights.
  struct Setup {
    const model::ModelConfig& config;
    /// Whole tensors by their Wan names; only this rank's elements of them are read.
    const std::map<std::string, at::Tensor>& tensors;
    /// Where the tensors come from: stands in front of errors.
    std::string source;
    /// Where this rank's part lies; units are gathered on the device that uses it. What is trained
    /// is not offloaded.
    model::Home home;
    at::ScalarType compute_dtype;
    at::ScalarType master_dtype;
    bool with_gradients;
    ShardingPolicy policy;
    /// The ranks over which buffers are cut, and those that hold the same part as this one.
    Communicator& shard;
    Communicator& replica;
  };
  explicit ShardedWeights(const Setup& setup);
  ~ShardedWeights() override;

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
  void drop_copies() override;
  void masters_and_copies_changed() override;
  int64_t copies() const override { return replica_.size(); }
  bool is_gathered() const override { return is_cut(); }
  std::map<std::string, at::Tensor> tensors_of(int64_t unit) override;

 private:
  bool is_cut() const { return shard_.size() > 1; }
  void add_to_whole(int64_t unit, const std::vector<at::Tensor>& gradients);
  std::vector<at::Tensor>& whole_gradients(int64_t unit);
  void scatter(int64_t unit);
  void start_reduction(int64_t unit);

  model::Home home_;
  ShardingPolicy policy_;
  Communicator& shard_;
  Communicator& replica_;
  std::unique_ptr<GatheredUnits> gathered_;  // null where nothing is cut
  /// This rank's full-size gradients [size * part_numel], one a flat buffer of the unit. With
  /// scatter_gradients they are freed once reduce-scattered; else they stay for the whole run.
  std::map<int64_t, std::vector<at::Tensor>> whole_gradients_;
  /// Recorded uses whose backward has not come yet, by unit.
  std::map<int64_t, int64_t> expected_;
  /// Sums under way in the step's last backward, by unit; finish_gradients() waits for them.
  std::map<int64_t, std::vector<Pending>> reductions_;
  bool last_backward_ = false;
};

}  // namespace vmla::distributed
