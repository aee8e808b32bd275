#pragma once

#include "kernels/counter_rng/counter_rng.h"
#include "model/sampling/flow_match_schedule.h"
#include "model/sampling/noise_and_flow.h"
#include "trainer/objectives/objective.h"

namespace vmla::trainer {

/// x_t and the target v of flow matching at per-frame timesteps (docs/algorithms.md 7.1): x_t = (1
/// − sigma) x0 + sigma eps, v = eps − x0.
struct NoisyLatents {
  at::Tensor noisy_BFCHW;
  at::Tensor target_BFCHW;
};

/// The noise schedule of an objective: its shift, and whether sigma is looked up in the 1000-entry
/// table as the references do, or exact (the default).
class Noising {
 public:
  Noising(double timestep_shift, bool quantized_sigma);

  /// timesteps [B, F], 0..1000.
  NoisyLatents operator()(const at::Tensor& clean_BFCHW,
                          const at::Tensor& noise,
                          const at::Tensor& timesteps_BF) const;

  /// sigma(t) for timesteps [B, F], shaped [B, F, 1, 1, 1] in the dtype and on the device of
  /// `latents`.
  at::Tensor sigma(const at::Tensor& timesteps_BF, const at::Tensor& latents) const;

  /// The table that quantised sigmas come from; empty when sigma is exact.
  std::vector<double> quantized_sigmas() const {
    return quantized_ ? sigmas_ : std::vector<double>{};
  }

  /// Timestep of entry `index` of the training table.
  double table_timestep(int64_t index) const;

 private:
  std::vector<double> sigmas_;  // descending
  bool quantized_;
};

/// The address of a player's draw: `training` at the context's step, or `validation`, the same for
/// ever.
kernels::DrawKey draw_key(const std::string& player,
                          const DrawContext& context,
                          kernels::Purpose training,
                          kernels::Purpose validation);

/// The loss weight at each timestep [B, F], in the dtype and on the device of `options`.
at::Tensor loss_weights(const model::LossWeight& weight,
                        const at::Tensor& timesteps_BF,
                        const at::TensorOptions& options);

using model::clean_from_flow;

/// Prompts, then the negative one for each: [2B, text_len, E], for one pass that guides.
at::Tensor with_negative(const at::Tensor& text_BTE,
                         const at::Tensor& negative_text,
                         int64_t text_len);

/// What draw_noise and draw_timesteps make.
DrawSpec noise_spec(const ClipShape& clip);
DrawSpec timesteps_spec(const ClipShape& clip, const std::string& name = "timesteps");

/// `noise` [B, F, C, H, W] for the context's samples.
at::Tensor draw_noise(const std::string& player, const ClipShape& clip, const DrawContext& context);

/// `timesteps` [B, F]: one table index per group of frames, uniform over the 1000 entries.
/// `groups`: frames a group.
at::Tensor draw_timesteps(const std::string& player,
                          const std::vector<int64_t>& groups,
                          const Noising& noising,
                          const DrawContext& context);

}  // namespace vmla::trainer
