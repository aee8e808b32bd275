#pragma once

#include "model/config/kv_cache_dtype.h"

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>
#include <vector>

namespace vmla::model {

/// How a chunk (or a whole clip) is sampled.
enum class SamplerKind {
  kFewStep,  // predict x0, add fresh noise for the next listed step (docs/algorithms.md 8.1)
  kUnipc,    // UniPC, order 2, bh2, predicting x0 (docs/algorithms.md 8.3)
  kEuler,    // docs/algorithms.md 8.2
};
/// "few_step", "unipc" or "euler"; UserError on another name.
SamplerKind parse_sampler(const std::string& name);
/// The name of `kind`.
std::string sampler_name(SamplerKind kind);

struct SamplerSettings {
  SamplerKind kind = SamplerKind::kUnipc;
  int64_t steps = 50;  // of the many-step samplers
  /// w of v_neg + w (v_pos − v_neg); 1: one pass without the negative prompt.
  double guidance_scale = 3.0;
  double timestep_shift = 5.0;
  /// Steps of the few-step sampler, before the shift.
  std::vector<double> denoising_step_list = {1000, 750, 500, 250};
  /// The same for a video's first chunk; empty: denoising_step_list.
  std::vector<double> first_chunk_denoising_step_list;
  /// Timestep (0 to 1000) of the context pass, in which a finished chunk fills the cache.
  double context_noise = 0.0;
  /// Of the cache that chunks are denoised against.
  KvCacheDtype kv_cache_dtype = KvCacheDtype::kAuto;
  /// What rebuilt windows may take over a chunk's passes (windows_fit, wan_dit.h).
  int64_t kept_window_bytes = int64_t{16} << 20;
  /// On a GPU a chunk's passes are recorded and replayed as a CUDA graph (chunk_graph.h).
  bool cuda_graph = false;
};

/// The settings for a video's first chunk, for which a student of one or two steps may take more.
SamplerSettings first_chunk_settings(const SamplerSettings& settings);

/// The flow v at (x, t): t in 0..1000, the same for all of x.
using VelocityField = std::function<at::Tensor(const at::Tensor& x, double timestep)>;
/// Fresh Gaussian noise for the k-th re-noising, of x's shape.
using FreshNoise = std::function<at::Tensor(int64_t k)>;

/// How often solve_flow asks for fresh noise.
size_t fresh_noise_count(const SamplerSettings& settings);

/// Takes `noise` (sigma = 1) to a clean sample of the same shape. `fresh_noise` is called by the
/// few-step sampler only.
at::Tensor solve_flow(const SamplerSettings& settings,
                      const at::Tensor& noise,
                      const VelocityField& velocity,
                      const FreshNoise& fresh_noise);

}  // namespace vmla::model
