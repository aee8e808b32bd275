#pragma once

#include "model/codec/video_codec.h"
#include "model/formats/safetensors.h"
#include "model/network/wan_dit.h"
#include "trainer/config/optimizer_config.h"

#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace vmla::trainer {

enum class Training { kTrained, kFrozen, kEmaOf };

/// A network an objective needs. The trainer builds it, and what a checkpoint holds follows from
/// the list.
struct Role {
  std::string name;  // generator, teacher, fake_score, ...
  Training training = Training::kTrained;
  /// Of a kEmaOf: the role it follows, which it starts as a copy of, and how.
  std::string ema_of = {};
  double ema_decay = 0;
  int64_t ema_start_step = 0;
  int64_t update_every = 1;  // of a trained role
  /// Of a trained role; nothing: the stage's section `optimizer`.
  std::optional<OptimizerConfig> optimizer = {};
  /// The role whose weights it takes when init_from does not name it; empty: it must be named
  /// (a generator alone may be drawn at random).
  std::string same_weights_as = {};
  /// Runs many passes between two changes of its weights: where these are cut and may be held
  /// (distributed.hold_weights), they stay gathered until they change.
  bool rolls_out = false;
  /// A dense bidirectional network of its own sizes: those of its weights, not the section `model`.
  bool is_score = false;
};

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

/// What an objective reads from a dataset: clips, clips with the states of ODE paths, or prompts
/// alone.
enum class LearnsFrom { kClips, kOdePairs, kPrompts };

/// The steps of a student that needs few of them, before the shift (algorithms 4.3). The first
/// chunk may have steps of its own.
struct FewStepSchedule {
  std::vector<double> denoising_step_list;
  std::vector<double> first_chunk_denoising_step_list;  // empty: the same
  double context_noise = 0.0;  // timestep at which a finished chunk fills the cache
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

/// Computes losses. Never runs an optimizer or a collective, knows nothing of ranks or files.
///
/// Everything random is a named tensor: draws() makes them for training, and `vmla step` reads them
/// from a file (architecture 9), so both go through the one evaluate().
class Objective {
 public:
  virtual ~Objective() = default;
  virtual std::vector<Role> roles() const = 0;
  /// Whether the generator is trained, and hence sampled, chunk by chunk.
  virtual bool causal() const = 0;
  /// Shift of the noise schedule, which samplers use too.
  virtual double timestep_shift() const = 0;
  /// What its dataset must hold beside texts.
  virtual LearnsFrom learns_from() const { return LearnsFrom::kClips; }
  /// The prompt whose embedding evaluate() gets as `negative_text` [1, T, E]; nothing: none.
  virtual std::optional<std::string> negative_prompt() const { return std::nullopt; }
  /// What a few-step student is sampled with; nothing: it takes many steps.
  virtual std::optional<FewStepSchedule> few_step() const { return std::nullopt; }
  /// Whether it can learn from clips of this shape; ConfigRuleError names the key that does not
  /// fit.
  virtual void check_clip(const ClipShape&) const {}
  /// Gives the codec of the latents to an objective that re-encodes frames.
  virtual void use_codec(std::shared_ptr<const model::VideoCodec>) {}
  /// The input of evaluate() whose gradient `vmla step` reports as `grad.latents`; empty: none.
  virtual std::string reported_input() const { return {}; }
  /// Model FLOPs of one clip's share of a step, on average over what is drawn: a backward counts as
  /// two forwards, recomputation does not count (performance.md 1.4).
  virtual std::vector<PhaseFlops> training_flops(const ClipShape& clip,
                                                 const RoleModels& models) const = 0;
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
