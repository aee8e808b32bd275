#include "model/network/cached_forward.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "model/network/attention_plan.h"
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
    const PreparedPlan plan =
        prepare_plan(config, cached_plan(window.frames, first, count), grid, latents.options());
    const auto run = [&](const at::Tensor& x, const at::Tensor& t, const ForwardOptions& options) {
      const DitInputs chunk = {
          x.narrow(1, first, count), t.narrow(1, first, count), noisy.text_BTE};
      return dit_forward(network, chunk, plan, window.layers, options);
    };
    flows.push_back(run(latents, noisy.timesteps_BF, {}).flow_BFCHW);
    const ForwardOptions fill = {.keep_kv = true, .need_flow = false};
    const at::Tensor zero = at::zeros_like(noisy.timesteps_BF);
    cache.append(run(clean_BFCHW, zero, fill).kv, first, count);
    first += count;
  }
  return at::cat(flows, 1);
}

}  // namespace vmla::model
