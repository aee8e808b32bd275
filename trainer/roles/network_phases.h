#pragma once

#include "trainer/objectives/objective.h"

#include <cstdint>
#include <deque>
#include <string>
#include <utility>
#include <vector>

/// Which network of a player's update runs when, and for what. A network asks its WeightSource for
/// a unit's weights whenever it runs one, so a source that reports each request shows it, and the
/// objective's code need not know that it is watched.
namespace vmla::trainer {

/// How a network runs: kForward is the player's own training pass, kBackward its backward (with
/// recomputation it runs there too); a network that is not trained by this update runs
/// kWithoutGradient.
enum class NetworkWay { kForward, kBackward, kWithoutGradient };

/// Told of the phases of an update.
class PhaseListener {
 public:
  virtual ~PhaseListener() = default;
  /// Another network runs from here on, or the same one in another way.
  virtual void phase_begins(const std::string& role, NetworkWay way) = 0;
  /// The phase that is ending, a forward of the player, was a rollout: another network's pass
  /// follows it, which judges it, and not its backward.
  virtual void phase_was_rollout() = 0;
};

/// Splits the update of one player into phases.
class NetworkPhases {
 public:
  NetworkPhases(std::string player, PhaseListener& listener)
      : player_(std::move(player)), listener_(listener) {}

  /// The network of `role` runs a unit.
  void network_runs(const std::string& role) {
    if (role != player_) {
      begin(role, NetworkWay::kWithoutGradient);
    } else {
      begin(role, in_backward_ ? NetworkWay::kBackward : NetworkWay::kForward);
    }
  }
  void backward_begins() {
    in_backward_ = true;
    begin(player_, NetworkWay::kBackward);
  }
  void backward_ended() { in_backward_ = false; }

 private:
  void begin(const std::string& role, NetworkWay way) {
    if (way == way_ && role == role_) return;
    const bool was_forward = role_ == player_ && way_ == NetworkWay::kForward;
    if (was_forward && way == NetworkWay::kWithoutGradient) listener_.phase_was_rollout();
    role_ = role;
    way_ = way;
    listener_.phase_begins(role, way);
  }

  std::string player_, role_;  // role_: empty before the first network runs
  NetworkWay way_ = NetworkWay::kForward;
  bool in_backward_ = false;
  PhaseListener& listener_;
};

/// A role's weights as they are; reports every request to `phases`, if that is set.
class WatchedWeights : public model::WeightSource {
 public:
  WatchedWeights(model::WeightSource& weights, std::string role)
      : weights_(weights), role_(std::move(role)) {}
  std::vector<at::Tensor> acquire(int64_t unit) override {
    if (phases) phases->network_runs(role_);
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
  NetworkPhases* phases = nullptr;

 private:
  model::WeightSource& weights_;
  std::string role_;
};

/// The networks of `plain`, whose weights are reported: one of `watched` for each, to which they
/// refer.
inline NetworkTable watched_networks(const NetworkTable& plain,
                                     std::deque<WatchedWeights>& watched) {
  NetworkTable table;
  for (const auto& [name, role] : plain) {
    const model::Network& network = role.network;
    WatchedWeights& weights = watched.emplace_back(network.weights, name);
    table.emplace(name,
                  RoleNetwork{{network.config, weights, network.sequence, network.activations},
                              role.recompute});
  }
  return table;
}

}  // namespace vmla::trainer
