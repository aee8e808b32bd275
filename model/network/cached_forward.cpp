#include "model/network/cached_forward.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "model/network/attention_plan.h"
#include "model/network/context_pass.h"
#include "model/network/kv_cache.h"

namespace vmla::model {

at::Tensor cached_forward(const Network& network,
                          const at::Tensor& clean_BFCHW,
                          const DitInputs& noisy) {
  const at::NoGradGuard no_grad;
  const ModelConfig& config = network.config;
  const at::Tensor& latents = noisy.latents_BFCHW;
  const TokenGrid grid = token_grid(config, latents.size(3), latents.size(4));
  KvCache cache(config, CacheKind::kStreaming, grid.tokens(), latents.size(1));
  std::vector<at::Tensor> flows;
  int64_t first = 0;
  for (int64_t count : chunk_sizes(config, latents.size(1))) {
    const KvWindow window = cache.window(first, count);
    const PreparedPlan plan = prepare_plan(
        config, cached_plan(config, window.frames, first, count), grid, latents.options());
    const DitInputs chunk = {latents.narrow(1, first, count),
                             noisy.timesteps_BF.narrow(1, first, count),
                             noisy.text_BTE};
    flows.push_back(dit_forward(network, chunk, plan, window.layers, {}).flow_BFCHW);
    const ContextPass context{.latents_BFCHW = clean_BFCHW.narrow(1, first, count),
                              .text_BTE = noisy.text_BTE,
                              .plan = plan,
                              .window = window.layers};
    cache.append(context_kv(network, context), first, count);
    first += count;
  }
  return at::cat(flows, 1);
}

}  // namespace vmla::model
