#include "analysis/study/latent_activations.h"

#include "model/network/attention_plan.h"
#include "model/network/context_pass.h"
#include "model/network/plan_cache.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace vmla::analysis {

std::vector<LatentStatistics> measure_latents(const model::Network& network,
                                              const data::LatentDataset& clips,
                                              int64_t count,
                                              const at::TensorOptions& options) {
  std::vector<LatentStatistics> layers(static_cast<size_t>(network.config.num_layers));
  model::PlanCache plans;
  for (int64_t clip = 0; clip < std::min(count, clips.size()); ++clip) {
    // One at a time: memory stays below a training step's, and clips may differ in size.
    const at::Tensor latents_BFCHW = clips.latents(clip).unsqueeze(0).to(options);
    const at::Tensor text_BTE = clips.text(clip).unsqueeze(0).to(options);
    const model::PreparedPlan& plan =
        plans.get(network.config,
                  model::chunk_causal_plan(network.config, latents_BFCHW.size(1)),
                  latents_BFCHW);
    const std::vector<model::LayerKv> kv = model::context_kv(
        network,
        {.latents_BFCHW = latents_BFCHW, .text_BTE = text_BTE, .plan = plan, .window = {}});
    for (size_t layer = 0; layer < layers.size(); ++layer) layers[layer].add(kv[layer].content);
  }
  return layers;
}

}  // namespace vmla::analysis
