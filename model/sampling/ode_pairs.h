#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "model/network/wan_dit.h"

/// Paths of the probability-flow ODE, from which a student of few steps learns (docs/algorithms.md
/// 9.4). A path starts from noise and follows Euler steps of a causal teacher, which sees the clean
/// clip before each chunk.
namespace vmla::model {

/// The Euler grid, and which states of a path are kept: those at which a student's steps start, and
/// the end.
struct OdeGrid {
  std::vector<double> timesteps;  // of each step, from 1000 down; the last step ends at 0
  std::vector<int64_t> recorded;  // indices of steps whose starting state is kept

  /// Timesteps of the kept states, noisy to clean: those of the recorded steps, then 0.
  std::vector<double> state_times() const;
};

/// `steps` steps of the shifted uniform grid (docs/algorithms.md 7.4) that keeps the states at the
/// warped `denoising_step_list`. UserError unless every step of the list is a point of the grid: a
/// state must exist at each noise level that the student is taught at.
OdeGrid ode_grid(int64_t steps,
                 double timestep_shift,
                 const std::vector<double>& denoising_step_list);

/// One batch of clips, and the noise that their paths start from.
struct OdeStart {
  at::Tensor clean_BFCHW, noise_BFCHW, text_BTE;
  at::Tensor negative_text_1TE;  // may be undefined with guidance 1
};

/// How paths are computed. Both ways give the same states.
enum class OdeWay {
  /// Chunk by chunk: all steps of a chunk against the cache, which its clean frames then fill.
  kCached,
  /// All chunks at once under the teacher-forcing mask, clean and noisy frames in every step. Takes
  /// 1.1 to 1.6 times as long on nine frames, more on longer clips.
  kDoubled,
};

/// The states [B, states, F, C, H, W] at the grid's state_times(), without gradients. All frames
/// are at the same timestep; the teacher's flow is guided, v_neg + w (v_pos − v_neg).
at::Tensor ode_states(const Network& teacher,
                      const OdeStart& start,
                      const OdeGrid& grid,
                      double guidance_scale,
                      OdeWay way);

}  // namespace vmla::model
