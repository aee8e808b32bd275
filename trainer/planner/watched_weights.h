#pragma once

#include "model/weights/weight_source.h"
#include "trainer/planner/planned_step.h"
#include "trainer/telemetry/tensor_memory.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

/// Inside planned_step: which network runs when, told by who asks for weights.
namespace vmla::trainer {

/// Splits a player's update into phases by watching whose weights are asked for.
class PhaseWatch {
 public:
  explicit PhaseWatch(const std::string& player) : player_(player) { reset_tensor_peak(at::kMeta); }

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

  std::vector<PhaseMemory> finish() {
    close();
    return std::move(phases_);
  }

 private:
  void begin(const std::string& name) {
    // A player that ran and then had others judge what it made: that was no training pass.
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

/// A role's weights, and word to the watch whenever a unit asks for them.
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
