#pragma once

#include "model/sampling/flow_solver.h"
#include "model/sampling/guidance.h"

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

namespace vmla::model {

/// A chunk of a video that is to be sampled: who samples it, how, and what all its passes read.
struct ChunkPasses {
  const Network& network;
  const Guidance& guidance;
  const SamplerSettings& sampler;
  GuidedPasses inputs;
};

/// Takes noise [B, F, C, H, W] to the chunk's latents. `before_pass`, if there is one, is called
/// before each pass; what it throws ends the sampling.
at::Tensor denoise(const ChunkPasses& passes,
                   const at::Tensor& noise_BFCHW,
                   const FreshNoise& fresh_noise,
                   const std::function<void()>& before_pass);

/// Keys and values of the finished chunk, one entry a layer, by a pass at t = context_noise.
std::vector<LayerKv> finished_kv(const ChunkPasses& passes, const at::Tensor& latents_BFCHW);

}  // namespace vmla::model
