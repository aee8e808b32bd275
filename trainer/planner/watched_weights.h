#pragma once

#include "model/weights/weight_source.h"
#include "trainer/planner/planned_step.h"
#include "trainer/telemetry/tensor_memory.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

/// Inside planned_step: which network runs when. A network asks its WeightSource for a unit's
/// weights whenever it runs one, so a source that reports each request shows it, and the
/// objective's code need not know that it is watched.
namespace vmla::trainer {

/// Splits a player's update into phases: "generator forward", "real_score without gradient", ... A
/// phase begins when another network asks for weights, or a backward begins. The peak of the
/// tensors on the meta device is taken for each, and a phase that comes again keeps its highest.
class PhaseWatch {
 public:
  explicit PhaseWatch(const std::string& player) : player_(player) { reset_tensor_peak(at::kMeta); }

  /// The network of `role` runs a unit. The player's own passes are taken for training passes,
  /// those of the others record no gradient; with recomputation the player runs in backward too.
  void network_runs(const std::string& role) {
    const std::string way = role != player_ ? " without gradient"
                            : backward_     ? " backward"
                                            : " forward";
    if (role + way != current_) begin(role + way);
  }
  void backward_begins() {
    backward_ = true;
    begin(player_ + " backward");
  }
  void backward_ended() { backward_ = false; }

  /// Ends the last phase. The phases in the order in which they first began.
  std::vector<PhaseMemory> finish() {
    close();
    return std::move(phases_);
  }

 private:
  void begin(const std::string& name) {
    // A forward of the player that is followed by another network's pass, and not by its backward,
    // was a rollout that the others now judge.
    if (current_ == player_ + " forward" && !backward_) current_ = player_ + " rollout";
    close();
    current_ = name;
  }
  void close() {
    const int64_t peak = tensor_bytes(at::kMeta).peak;
    reset_tensor_peak(at::kMeta);
    if (current_.empty()) return;
    const auto known = std::ranges::find(phases_, current_, &PhaseMemory::name);
    if (known == phases_.end()) {
      phases_.push_back({current_, peak});
    } else {
      known->peak_bytes = std::max(known->peak_bytes, peak);
    }
  }

  std::string player_, current_;
  bool backward_ = false;
  std::vector<PhaseMemory> phases_;
};

/// A role's weights as they are; reports every request to the watch, if there is one.
class WatchedWeights : public model::WeightSource {
 public:
  WatchedWeights(model::WeightSource& weights, std::string role)
      : weights_(weights), role_(std::move(role)) {}
  std::vector<at::Tensor> acquire(int64_t unit) override {
    if (watch) watch->network_runs(role_);
    return weights_.acquire(unit);
  }
  void release(int64_t unit) override { weights_.release(unit); }
  void add_gradients(int64_t unit, const std::vector<at::Tensor>& gradients) override {
    weights_.add_gradients(unit, gradients);
  }
  void prefetch(int64_t unit) override { weights_.prefetch(unit); }
  void expect_gradients(int64_t unit) override { weights_.expect_gradients(unit); }
  void hold() override { weights_.hold(); }
  void unhold() override { weights_.unhold(); }
  PhaseWatch* watch = nullptr;

 private:
  model::WeightSource& weights_;
  std::string role_;
};

}  // namespace vmla::trainer
