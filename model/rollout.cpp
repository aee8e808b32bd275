#include "model/rollout.h"

#include "model/attention_plan.h"
#include "model/kv_cache.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <chrono>

namespace vmla::model {
namespace {

at::Tensor stack_frames(int64_t first,
                        int64_t count,
                        const std::function<at::Tensor(int64_t)>& frame) {
  std::vector<at::Tensor> frames;
  for (int64_t i = 0; i < count; ++i) frames.push_back(frame(first + i));
  return at::stack(frames, 1);
}

/// Positive prompts, and behind them the negative one for each when guidance asks for it.
at::Tensor guided_text(const RolloutRequest& request, double guidance, int64_t text_len) {
  const auto padded = [&](const at::Tensor& text) {
    return at::constant_pad_nd(text, {0, 0, 0, text_len - text.size(1)});
  };
  if (guidance == 1.0) return request.text_BTE;
  TORCH_CHECK(
      request.negative_text_1TE.defined(), "guidance needs a negative prompt, scale: ", guidance);
  const at::Tensor negative =
      padded(request.negative_text_1TE).expand({request.text_BTE.size(0), -1, -1});
  return at::cat({padded(request.text_BTE), negative}, 0);
}

at::Tensor guide(const at::Tensor& flow, double guidance) {
  if (guidance == 1.0) return flow;
  const auto halves = flow.chunk(2, 0);
  return halves[1] + guidance * (halves[0] - halves[1]);
}

at::Tensor for_guidance(const at::Tensor& x, double guidance) {
  return guidance == 1.0 ? x : at::cat({x, x}, 0);
}

/// One network pass over `count` frames at one timestep.
at::Tensor flow_at(const Network& network,
                   const at::Tensor& x,
                   double timestep,
                   const at::Tensor& text,
                   const PreparedPlan& plan,
                   const std::vector<LayerKv>& window,
                   CrossCache& cross,
                   LatentForm form,
                   double guidance) {
  const at::Tensor latents = for_guidance(x, guidance);
  const at::Tensor timesteps =
      at::full({latents.size(0), latents.size(1)}, timestep, x.options().dtype(at::kDouble));
  const ForwardOptions options{.cross_cache = &cross, .form = form};
  return guide(dit_forward(network, {latents, timesteps, text}, plan, window, options).flow_BFCHW,
               guidance);
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

void sample_causal(const Network& network,
                   const RolloutRequest& request,
                   const SamplerSettings& sampler,
                   const std::function<void(const RolloutChunk&)>& emit) {
  const at::NoGradGuard no_grad;
  const ModelConfig& config = network.config;
  const TokenGrid grid = token_grid(config, request.latent_height, request.latent_width);
  const int64_t tokens = grid.rows * grid.cols;
  const double guidance = sampler.guidance_scale;
  const at::Tensor text = guided_text(request, guidance, config.text_len);

  KvCache cache(config, CacheKind::kStreaming, tokens, request.num_frames);
  CrossCache cross;
  int64_t first = 0;
  for (int64_t count : chunk_sizes(config, request.num_frames)) {
    const auto start = std::chrono::steady_clock::now();
    if (request.erase_cache) cache.erase();
    const KvWindow window = cache.window(first, count);
    const at::Tensor noise = stack_frames(first, count, request.frame_noise);
    const PreparedPlan plan = prepare_plan(
        config, cached_plan(window.frames, first, count), grid.rows, grid.cols, noise.options());
    const LatentForm form =
        config.is_mla()
            ? cheaper_form(layer_dims(config, 0), plan.query_tokens(), plan.key_tokens())
            : LatentForm::kExpanded;
    const auto velocity = [&](const at::Tensor& x, double timestep) {
      return flow_at(network, x, timestep, text, plan, window.layers, cross, form, guidance);
    };
    const auto fresh_noise = [&](int64_t k) {
      return stack_frames(
          first, count, [&](int64_t frame) { return request.frame_renoise(frame, k); });
    };
    RolloutChunk chunk{first, solve_flow(sampler, noise, velocity, fresh_noise), 0.0, 0};
    chunk.seconds = seconds_since(start);
    first += count;
    if (first < request.num_frames) {  // nothing will read the last chunk's keys and values
      const at::Tensor clean = for_guidance(chunk.latents_BFCHW, guidance);
      const at::Tensor zero = at::zeros({clean.size(0), count}, clean.options().dtype(at::kDouble));
      const ForwardOptions fill{
          .keep_kv = true, .need_flow = false, .cross_cache = &cross, .form = form};
      cache.append(dit_forward(network, {clean, zero, text}, plan, window.layers, fill).kv,
                   chunk.first_frame,
                   count);
    }
    chunk.cache_bytes = cache.bytes();
    emit(chunk);
  }
}

RolloutChunk sample_bidirectional(const Network& network,
                                  const RolloutRequest& request,
                                  const SamplerSettings& sampler) {
  const at::NoGradGuard no_grad;
  const auto start = std::chrono::steady_clock::now();
  const ModelConfig& config = network.config;
  const TokenGrid grid = token_grid(config, request.latent_height, request.latent_width);
  const at::Tensor noise = stack_frames(0, request.num_frames, request.frame_noise);
  const PreparedPlan plan = prepare_plan(
      config, bidirectional_plan(request.num_frames), grid.rows, grid.cols, noise.options());
  const at::Tensor text = guided_text(request, sampler.guidance_scale, config.text_len);
  CrossCache cross;
  const auto velocity = [&](const at::Tensor& x, double timestep) {
    return flow_at(
        network, x, timestep, text, plan, {}, cross, LatentForm::kExpanded, sampler.guidance_scale);
  };
  const auto fresh_noise = [&](int64_t k) {
    return stack_frames(
        0, request.num_frames, [&](int64_t frame) { return request.frame_renoise(frame, k); });
  };
  const at::Tensor latents = solve_flow(sampler, noise, velocity, fresh_noise);
  return {.first_frame = 0,
          .latents_BFCHW = latents,
          .seconds = seconds_since(start),
          .cache_bytes = 0};
}

}  // namespace vmla::model
