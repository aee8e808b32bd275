#pragma once

#include "model/codec/video_codec.h"
#include "model/formats/safetensors.h"
#include "model/network/wan_dit.h"
#include "trainer/config/objective_config.h"

#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace vmla::trainer {

/// Which samples of which step a set of draws is for. Draws depend on nothing else.
struct DrawContext {
  uint64_t seed = 0;
  int64_t step = 0;
  int64_t first_sample = 0;  // index of the micro-batch's first sample in the step's global batch
  int64_t batch = 0;
  bool validation = false;  // fixed noise and times: the same for ever
};

/// Latent shape of one clip: F, C, H, W.
struct ClipShape {
  int64_t frames, channels, height, width;
};

/// A random tensor that a player's evaluation needs, without its values.
struct DrawSpec {
  /// Stands in `shape` for the axis of the samples.
  static constexpr int64_t kBatch = -1;

  std::string name;
  std::vector<int64_t> shape;  // [] and the like: one for all samples
  at::ScalarType dtype = at::kFloat;
  /// Above 0: a whole number below this, one for all samples of a step, so that all ranks must have
  /// drawn the same. 0: every sample has its own.
  int64_t shared_below = 0;
};

/// A part of a step's model FLOPs: what runs, and whose network.
struct PhaseFlops {
  std::string phase;  // rollout, scores, forward, backward
  std::string role;
  double flops = 0;  // of one clip's share of a step
};

/// The sizes of every role's network.
using RoleModels = std::map<std::string, model::ModelConfig>;

/// One evaluated loss. `total` is what is differentiated; the rest is for logs and for `vmla step`.
struct LossTerms {
  at::Tensor total;  // [], fp32 (fp64 in fp64 runs)
  std::map<std::string, double> metrics;
  model::TensorMap details;  // e.g. frame_loss and timesteps [B, F]
};

/// Takes a loss and, before it returns, has back-propagated it (when training). More losses follow
/// unless `last`.
using EmitLoss = std::function<void(const LossTerms&, bool last)>;

/// A role's network as an objective may call it.
struct RoleNetwork {
  model::Network network;
  bool recompute = false;
};
using NetworkTable = std::map<std::string, RoleNetwork>;

/// Computes losses. Never runs an optimizer or a collective, knows nothing of ranks or files. What
/// others must know of it stands in its traits (trainer/config/objective_config.h).
///
/// Everything random is a named tensor: draws() makes them for training, and `vmla step` reads them
/// from a file (docs/formats.md "Tensors of forward and step"), so both go through the one
/// evaluate().
class Objective {
 public:
  virtual ~Objective() = default;
  /// Whether it can learn from clips of this shape; ConfigRuleError names the key that does not
  /// fit.
  virtual void check_clip(const ClipShape&) const {}
  /// Gives the codec of the latents to an objective that re-encodes frames.
  virtual void use_codec(std::shared_ptr<const model::VideoCodec>) {}
  /// The input of evaluate() whose gradient `vmla step` reports as `grad.latents`; empty: none.
  virtual std::string reported_input() const { return {}; }
  /// Model FLOPs of one clip's share of a step, on average over what is drawn: a backward counts as
  /// two forwards, recomputation does not count (docs/algorithms.md 15.2).
  virtual std::vector<PhaseFlops> training_flops(const ClipShape& clip,
                                                 const RoleModels& models) const = 0;
  /// What draws() makes for this player, each in the largest shape that it may draw: a plan of the
  /// memory needs no values.
  virtual std::vector<DrawSpec> draw_specs(const std::string& player,
                                           const ClipShape& clip) const = 0;
  /// The tensors of draw_specs(), as a function of the context alone.
  virtual model::TensorMap draws(const std::string& player,
                                 const ClipShape& clip,
                                 const DrawContext& context) const = 0;
  /// inputs: `clean_latents` [B, F, C, H, W], `text` [B, T, E], and what draws() named. With grad
  /// kNone the losses are only evaluated (validation).
  virtual void evaluate(const std::string& player,
                        const model::TensorMap& inputs,
                        const NetworkTable& networks,
                        model::GradMode grad,
                        const EmitLoss& emit) = 0;
};

/// The sum over the phases.
double total_flops(const std::vector<PhaseFlops>& phases);

/// The tensor `name` of `inputs`; UserError names what is missing and what is there.
const at::Tensor& input_tensor(const model::TensorMap& inputs, const std::string& name);

}  // namespace vmla::trainer
