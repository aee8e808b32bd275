#pragma once

#include <map>
#include <memory>
#include <string>

#include "model/weights/local_weights.h"
#include "trainer/objectives/objective.h"

/// Networks small enough to evaluate an objective hundreds of times, in fp64.
namespace vmla::trainer {

/// Chunks of two frames; a window of four with a sink of one, so that frames are evicted.
model::ModelConfig small_model(const std::string& attention);

/// Dense, with the latents and texts of small_model but wider and deeper: a score of its own sizes.
model::ModelConfig small_score();

/// Drawn from `seed`, with a head that is not zero (else no gradient passes it).
std::map<std::string, at::Tensor> small_weights(const model::ModelConfig& config, uint64_t seed);

/// The networks of a few roles and what they refer to, all trainable so that a test sees who was
/// given gradients.
class SmallNetworks {
 public:
  /// `weights` is empty for small_weights of a seed that depends on the role.
  void add(const std::string& role,
           const model::ModelConfig& config,
           std::map<std::string, at::Tensor> weights = {},
           model::Recompute recompute = model::Recompute::kNone);
  NetworkTable table() const;
  model::TrainedWeights& weights(const std::string& role) { return *roles_.at(role).weights; }
  const model::ModelConfig& config(const std::string& role) const { return roles_.at(role).config; }
  void zero_gradients();
  /// A copy of a role's gradients.
  std::map<std::string, at::Tensor> gradients(const std::string& role) const;

 private:
  struct One {
    model::ModelConfig config;
    std::unique_ptr<model::TrainedWeights> weights;
    model::Recompute recompute = model::Recompute::kNone;
  };
  std::map<std::string, One> roles_;
};

/// Draws of the objective in fp64 where they are floating point, with a text for every sample, a
/// clip and a negative text.
model::TensorMap small_inputs(const Objective& objective,
                              const std::string& player,
                              const ClipShape& clip,
                              const DrawContext& context);

/// Every emission of an evaluation: the summed loss and what the last one reported. Back-propagates
/// `share` of each loss when grad says so.
struct Evaluated {
  double loss = 0;
  int64_t emissions = 0;
  model::TensorMap details;
};
Evaluated evaluate_small(Objective& objective,
                         const std::string& player,
                         const model::TensorMap& inputs,
                         const SmallNetworks& networks,
                         model::GradMode grad = model::GradMode::kFull,
                         double share = 1.0);

/// sum over tensors of gradient · direction, where the direction is drawn by the tensor's name, and
/// weights moved along it by h: for derivatives by central differences.
double along(const std::map<std::string, at::Tensor>& gradients);
std::map<std::string, at::Tensor> moved_along(std::map<std::string, at::Tensor> weights, double h);

}  // namespace vmla::trainer
