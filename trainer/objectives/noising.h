#pragma once

#include "kernels/counter_rng/counter_rng.h"
#include "model/sampling/flow_match_schedule.h"
#include "model/sampling/noise_and_flow.h"
#include "trainer/objectives/objective.h"

namespace vmla::trainer {

/// The noisy latents x_t = (1 - sigma) x0 + sigma eps and the flow v = eps - x0 that the network
/// shall predict for them (docs/algorithms.md 7.1), both in the dtype of the clean latents.
struct NoisyLatents {
  at::Tensor noisy_BFCHW;
  at::Tensor target_BFCHW;
};

/// The noise schedule of an objective: its timestep shift, and whether sigma is exact (t / 1000,
/// the default) or the nearest of the 1000 entries of the training table, as the references have it
/// (docs/algorithms.md 7.2).
class Noising {
 public:
  Noising(double timestep_shift, bool quantized_sigma);

  /// Noises a clip to a timestep of each frame, [B, F] in 0 ... 1000, on the CPU.
  NoisyLatents operator()(const at::Tensor& clean_BFCHW,
                          const at::Tensor& noise,
                          const at::Tensor& timesteps_BF) const;

  /// sigma(t) for timesteps [B, F] on the CPU, shaped [B, F, 1, 1, 1] in the dtype and on the
  /// device of `latents`.
  at::Tensor sigma(const at::Tensor& timesteps_BF, const at::Tensor& latents) const;

  /// The table that quantized sigmas come from, descending; empty where sigma is exact.
  std::vector<double> quantized_sigmas() const {
    return quantized_ ? sigmas_ : std::vector<double>{};
  }

  /// Timestep of entry `index` of the training table; 0 is the noisiest. Training draws by index,
  /// so that exact and quantized sigma agree on what is drawn.
  double table_timestep(int64_t index) const;

 private:
  std::vector<double> sigmas_;  // the training table, descending from 1
  bool quantized_;
};

/// The address of a player's draw for the context's first sample: purpose `training` at the
/// context's step; in a validation, purpose `validation` at step 0, so that every validation sees
/// the same.
kernels::DrawKey draw_key(const std::string& player,
                          const DrawContext& context,
                          kernels::Purpose training,
                          kernels::Purpose validation);

/// The loss weight (docs/algorithms.md 7.5) at each timestep [B, F] on the CPU, computed in fp64,
/// in the dtype and on the device of `options`.
at::Tensor loss_weights(const model::LossWeight& weight,
                        const at::Tensor& timesteps_BF,
                        const at::TensorOptions& options);

using model::clean_from_flow;

/// The specs of what draw_noise and draw_timesteps make.
DrawSpec noise_spec(const ClipShape& clip);
DrawSpec timesteps_spec(const ClipShape& clip, const std::string& name = "timesteps");

/// Standard normals `noise` [B, F, C, H, W] for the context's samples, fp32.
at::Tensor draw_noise(const std::string& player, const ClipShape& clip, const DrawContext& context);

/// `timesteps` [B, F], fp64: one index into the training table for each group of neighbouring
/// frames, uniform over its 1000 entries. `groups`: how many frames each group has; one group is
/// one timestep a clip, the chunks' sizes are one timestep a chunk.
at::Tensor draw_timesteps(const std::string& player,
                          const std::vector<int64_t>& groups,
                          const Noising& noising,
                          const DrawContext& context);

}  // namespace vmla::trainer
