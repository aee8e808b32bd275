#include "model/sampling/chunk_passes.h"

#include "model/network/context_pass.h"

namespace vmla::model {

at::Tensor denoise(const ChunkPasses& passes,
                   const at::Tensor& noise_BFCHW,
                   const FreshNoise& fresh_noise,
                   const std::function<void()>& before_pass) {
  const auto velocity = [&](const at::Tensor& x, double timestep) {
    if (before_pass) before_pass();
    return guided_flow(passes.network, passes.guidance, x, timestep, passes.inputs);
  };
  return solve_flow(passes.sampler, noise_BFCHW, velocity, fresh_noise);
}

std::vector<LayerKv> finished_kv(const ChunkPasses& passes, const at::Tensor& latents_BFCHW) {
  const ContextPass context{.latents_BFCHW = passes.guidance.repeat(latents_BFCHW),
                            .timestep = passes.sampler.context_noise,
                            .text_BTE = passes.inputs.text,
                            .plan = passes.inputs.plan,
                            .window = passes.inputs.window,
                            .pass_cache = &passes.inputs.pass_cache,
                            .chunk_cache = passes.inputs.chunk_cache,
                            .form = LatentForm::kCheaper};
  return context_kv(passes.network, context);
}

}  // namespace vmla::model
