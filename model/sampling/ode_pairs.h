#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "model/network/wan_dit.h"

/// Paths of the probability-flow ODE that a student can learn in few steps (docs/algorithms.md
/// 9.4): from noise by Euler steps of a causal teacher, every chunk given the clean clip before it.
namespace vmla::model {

/// The Euler grid, and the states of a path that are kept: those before the steps a student is
/// going to take, and the end.
struct OdeGrid {
  std::vector<double> timesteps;  // of each step, from 1000 down; the last step ends at 0
  std::vector<int64_t> recorded;  // steps whose starting state is kept

  /// Timesteps of the kept states, noisy to clean: those steps', then 0.
  std::vector<double> state_times() const;
};

/// `steps` steps of the shifted uniform grid (docs/algorithms.md 7.4) that keeps the states at the
/// warped `denoising_step_list`. UserError unless every step of the list is a point of the grid: a
/// student must not be taught at a noise level where no state is.
OdeGrid ode_grid(int64_t steps,
                 double timestep_shift,
                 const std::vector<double>& denoising_step_list);

/// One batch of clips, and the noise their paths start from.
struct OdeStart {
  at::Tensor clean_BFCHW, noise_BFCHW, text_BTE;
  at::Tensor negative_text_1TE;  // may be undefined with guidance 1
};

/// How a path is computed. Both give the same states.
enum class OdeWay {
  kCached,   // chunk by chunk: all steps of a chunk against the cache, which the clean chunk then
             // fills
  kDoubled,  // all chunks at once under the teacher-forcing mask, clean frames and noisy ones in
             // every step: 1.1 to 1.6 times the time on nine frames, more on longer clips
};

/// [B, states, F, C, H, W] at the grid's state_times(), without gradients, with all frames at the
/// same timestep and the teacher's guided flow v_neg + w (v_pos − v_neg).
at::Tensor ode_states(const Network& teacher,
                      const OdeStart& start,
                      const OdeGrid& grid,
                      double guidance_scale,
                      OdeWay way);

}  // namespace vmla::model
