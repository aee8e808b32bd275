#pragma once

#include "model/codec/video_codec.h"
#include "model/formats/safetensors.h"
#include "model/network/wan_dit.h"
#include "trainer/config/objective_config.h"

#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace vmla::trainer {

/// Which samples of which step a set of draws is for. Draws depend on this and the player's name,
/// and on nothing else: not on ranks, not on how the batch is cut (docs/algorithms.md 12.2).
struct DrawContext {
  uint64_t seed = 0;
  int64_t step = 0;
  /// Index of the micro-batch's first sample in the step's global batch.
  int64_t first_sample = 0;
  /// Samples of the micro-batch.
  int64_t batch = 0;
  /// Noise and times of a validation: the same at every step.
  bool validation = false;
};

/// Shape of one clip's latents: F, C, H, W.
struct ClipShape {
  int64_t frames, channels, height, width;
  bool operator==(const ClipShape&) const = default;
};
/// Of the four sizes of a dataset's clips, or of data.clip_shape.
inline ClipShape clip_shape_of(const std::vector<int64_t>& sizes) {
  return {sizes.at(0), sizes.at(1), sizes.at(2), sizes.at(3)};
}

/// A random tensor that a player's evaluation needs, without its values.
struct DrawSpec {
  /// Stands in `shape` for the dimension of the samples.
  static constexpr int64_t kBatch = -1;

  std::string name;
  /// Without kBatch: one draw for all samples.
  std::vector<int64_t> shape;
  at::ScalarType dtype = at::kFloat;
  /// Above 0: the draw is one integer in [0, shared_below) for all samples of a step. Every rank
  /// draws it, and the update checks that all have drawn the same. 0: every sample has its own.
  int64_t shared_below = 0;
};

/// A part of the model FLOPs of a player's update: what runs (rollout, scores, forward, backward),
/// and whose network.
struct PhaseFlops {
  std::string phase;
  std::string role;
  /// Of one clip's share of an update; a multiply-add is two.
  double flops = 0;
  std::string player = "generator";
  /// Steps from one update of the player to the next.
  int64_t update_every = 1;
  /// On average over the steps.
  double of_a_step() const { return flops / static_cast<double>(update_every); }
};

/// The sizes of every role's network.
using RoleModels = std::map<std::string, model::ModelConfig>;

/// One evaluated loss.
struct LossTerms {
  /// What is differentiated: [], fp32 (fp64 in fp64 runs), a mean over the micro-batch.
  at::Tensor total;
  /// Further figures for the log, means over the micro-batch: [], on the device of `total`, so that
  /// the host reads them with the update's report alone.
  std::map<std::string, at::Tensor> metrics;
  /// Tensors for validation and `vmla step`, without gradient, such as frame_loss and timesteps [B,
  /// F].
  model::TensorMap details;
};

/// Takes a loss and, in training, has back-propagated it when it returns: the graph is gone then,
/// so an objective that emits several losses holds the graph of one at a time. More follow unless
/// `last`.
using EmitLoss = std::function<void(const LossTerms&, bool last)>;

/// A role's network as an objective may call it; `recompute`: what a pass that is back-propagated
/// computes again (train.recompute).
struct RoleNetwork {
  model::Network network;
  model::Recompute recompute = model::Recompute::kNone;
};
using NetworkTable = std::map<std::string, RoleNetwork>;

/// Computes losses. An objective never runs an optimizer or a collective and knows nothing of ranks
/// or files. What others must know of it stands in its traits (trainer/config/objective_config.h).
///
/// Everything random is a named tensor: draws() makes them for training, `vmla step` reads them
/// from a file (docs/formats.md "Tensors of forward and step"), and both go through the one
/// evaluate().
class Objective {
 public:
  virtual ~Objective() = default;
  /// Throws where it cannot learn from clips of this shape: ConfigRuleError names the key that does
  /// not fit.
  virtual void check_clip(const ClipShape&) const {}
  /// Gives the latents' codec to an objective that decodes and re-encodes frames (front frames of
  /// docs/algorithms.md 10.7). Called once, before the first evaluate().
  virtual void use_codec(std::shared_ptr<const model::VideoCodec>) {}
  /// The input of evaluate() whose gradient `vmla step` reports as `grad.latents`; empty: none.
  virtual std::string reported_input() const { return {}; }
  /// Model FLOPs of one clip's share of every player's update, on average over what is drawn: a
  /// backward counts as two forwards, recomputation does not count (docs/algorithms.md 15.2).
  virtual std::vector<PhaseFlops> training_flops(const ClipShape& clip,
                                                 const RoleModels& models) const = 0;
  /// What draws() makes for this player, each in the largest shape that may be drawn: a memory plan
  /// needs the sizes of the worst case and no values.
  virtual std::vector<DrawSpec> draw_specs(const std::string& player,
                                           const ClipShape& clip) const = 0;
  /// The tensors that draw_specs() lists, on the CPU, as a function of the player and the context.
  virtual model::TensorMap draws(const std::string& player,
                                 const ClipShape& clip,
                                 const DrawContext& context) const = 0;
  /// Evaluates the losses of `player` and hands each to `emit`. inputs: `clean_latents`
  /// [B, F, C, H, W] (none from a prompt set), `text` [B, T, E], where the traits name a negative
  /// prompt `negative_text` [1, T, E], and what draws() named; on the networks' device but for
  /// those that stays_on_host() keeps, floating point in the stage's input dtype. With kNone
  /// nothing is recorded for backward (validation).
  virtual void evaluate(const std::string& player,
                        const model::TensorMap& inputs,
                        const NetworkTable& networks,
                        model::GradMode grad,
                        const EmitLoss& emit) = 0;
};

/// Whether an input of evaluate() is on the CPU wherever the networks are: times and indices, of at
/// most two dimensions. The host decides by them what runs, and must not wait for a device to learn
/// them.
inline bool stays_on_host(const at::Tensor& input) {
  return input.dim() <= 2;
}

/// The sum over the phases: of one clip's share of a step, on average over the steps.
double total_flops(const std::vector<PhaseFlops>& phases);

/// The tensor `name` of `inputs`. UserError that names it and lists what is there, for `vmla step`
/// takes inputs from a user's file.
const at::Tensor& input_tensor(const model::TensorMap& inputs, const std::string& name);

}  // namespace vmla::trainer
