#pragma once

#include "model/safetensors.h"
#include "model/wan_dit.h"

#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace vmla::trainer {

enum class Training { kTrained, kFrozen, kEmaOf };

/// A network an objective needs. The trainer builds it, and what a checkpoint holds follows from
/// the list.
struct Role {
  std::string name;  // generator, generator_ema, teacher, ...
  Training training = Training::kTrained;
  std::string ema_of;        // the role a kEmaOf follows
  int64_t update_every = 1;  // of a trained role
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
  /// Model FLOPs of one clip's share of a step: forward and backward count as three forwards,
  /// recomputation does not count (performance.md 1.4).
  virtual double training_flops(const ClipShape& clip) const = 0;
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

/// The tensor `name` of `inputs`; UserError names what is missing and what is there.
const at::Tensor& input_tensor(const model::TensorMap& inputs, const std::string& name);

}  // namespace vmla::trainer
