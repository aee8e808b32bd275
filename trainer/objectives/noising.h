#pragma once

#include "model/flow_match_schedule.h"
#include "trainer/objectives/objective.h"

namespace vmla::trainer {

/// x_t and the target v of flow matching at per-frame timesteps (algorithms 4.2): x_t = (1 − sigma)
/// x0 + sigma eps, v = eps − x0.
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

  /// Timestep of entry `index` of the training table.
  double table_timestep(int64_t index) const;

 private:
  std::vector<double> sigmas_;  // descending
  bool quantized_;
};

/// `noise` [B, F, C, H, W] for the context's samples.
at::Tensor draw_noise(const std::string& player, const ClipShape& clip, const DrawContext& context);

/// `timesteps` [B, F]: one table index per group of frames, uniform over the 1000 entries.
/// `groups`: frames a group.
at::Tensor draw_timesteps(const std::string& player,
                          const std::vector<int64_t>& groups,
                          const Noising& noising,
                          const DrawContext& context);

}  // namespace vmla::trainer
