#pragma once

#include "model/config/model_config.h"
#include "model/conversion/layer_moments.h"
#include "model/network/wan_dit.h"

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

/// What the layers of a dense model see: the inputs of its self-attention while it denoises clips
/// as the latent model will, chunk after chunk (docs/algorithms.md 5.5).
namespace vmla::model {

/// A clip as a dataset has it.
struct CalibrationClip {
  at::Tensor latents_FCHW;  // fp32
  at::Tensor text_TE;
};

struct CalibrationSettings {
  /// Clips first, first + step, ... below `clips`: ranks share them.
  int64_t clips = 0, first = 0, step = 1;
  std::function<CalibrationClip(int64_t index)> clip;
  uint64_t seed = 0;
  double timestep_shift = 5.0;
};

/// One teacher-forcing forward: clean frames at t = 0 as a cache would hold them, then the noisy
/// frames. Noise and each chunk's time are functions of (seed, index of the clip).
struct CalibrationInputs {
  at::Tensor clean_BFCHW, noise_BFCHW, sigma_BF;
  DitInputs noisy;
  PreparedPlan plan;
};
CalibrationInputs calibration_inputs(const ModelConfig& config,
                                     const CalibrationSettings& settings,
                                     int64_t index);

/// The dense model with the chunks and the window of the latent one: as the layers will be used.
ModelConfig causal_dense(const ModelConfig& dense, const ModelConfig& mla);

/// Sums over tokens of x̃ x̃ᵀ in fp64, one LayerMoments a layer; the last diagonal entry is the sum
/// of the tokens' weights. Only the sums stay in memory. ConfigRuleError if whole chunks do not
/// fill a clip.
std::vector<LayerMoments> moment_sums(const Network& dense, const CalibrationSettings& settings);

/// Sums divided by the weights, in place: second moments. All tensors must have weight.
void normalise(std::vector<LayerMoments>& sums);

}  // namespace vmla::model
