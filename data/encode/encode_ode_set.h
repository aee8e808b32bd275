#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "data/encode/computed_clips.h"
#include "data/loading/batch.h"

namespace vmla::data {

/// Follows the ODE of a teacher from noise [B, F, C, H, W] to the clips of a batch: [B, states, F,
/// C, H, W], noisy to clean (model/sampling/ode_pairs.h).
using OdeSolver = std::function<at::Tensor(const Batch& batch, const at::Tensor& noise_BFCHW)>;

/// One `vmla data ode`.
struct OdeSetOptions {
  std::filesystem::path data;     // dataset of the clips
  std::filesystem::path out;      // the ODE set
  std::vector<double> ode_times;  // of the solver's states
  bool fp32 = false;              // store the states as floats instead of bf16
  uint64_t seed = 0;              // of the noise
  int64_t limit = 0;              // clips, from the first on; 0: all
  int64_t batch = 1;              // clips the solver gets at once
  std::string teacher;            // everything else that decides the states: weights, settings
  std::string origin;             // the same in words, for the file
  double part_seconds = 15;       // what a kill may cost
  bool overwrite = false;         // replace an existing `out`
};

/// Stores the clips of a dataset once more, with the states of the ODE path to each. Clip i starts
/// from the noise of (seed, Purpose::kOdeNoise, sample i). Atomic and resumable as
/// data/encode/encode_videos.h; the file does not depend on when a job was killed, as long as the
/// batch is the same. UserError for a dataset without clips; RunError if a state is not finite.
ComputedClips encode_ode_set(const OdeSetOptions& options, const OdeSolver& solve);

}  // namespace vmla::data
