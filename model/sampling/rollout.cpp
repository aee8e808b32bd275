#include "model/sampling/rollout.h"

#include "model/io/error.h"
#include "model/network/attention_plan.h"
#include "model/network/kv_cache.h"
#include "model/network/plan_cache.h"
#include "model/sampling/chunk_graph.h"
#include "model/sampling/chunk_passes.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <optional>

namespace vmla::model {
namespace {

at::Tensor stack_frames(int64_t first,
                        int64_t count,
                        const std::function<at::Tensor(int64_t)>& frame) {
  std::vector<at::Tensor> frames;
  for (int64_t i = 0; i < count; ++i) frames.push_back(frame(first + i));
  return at::stack(frames, 1);
}

/// What two videos must have in common for the second to take what the first left.
struct VideoSize {
  int64_t samples, frames, height, width;
  at::ScalarType dtype;
  at::Device device;
  bool operator==(const VideoSize&) const = default;
};

VideoSize size_of(const RolloutRequest& request) {
  return {request.text_BTE.size(0),
          request.num_frames,
          request.latent_height,
          request.latent_width,
          request.text_BTE.scalar_type(),
          request.text_BTE.device()};
}

}  // namespace

struct KeptOverVideos {
  KeptOverVideos(const Network& network,
                 const RolloutRequest& request,
                 const SamplerSettings& settings)
      : size(size_of(request)),
        grid(token_grid(network.config, request.latent_height, request.latent_width)),
        cache(network.config,
              CacheKind::kStreaming,
              grid.tokens(),
              request.num_frames,
              settings.kv_cache_dtype),
        plans(streaming_plan_limit(network.config)) {
    if (settings.cuda_graph && ChunkGraphs::can_record(network, size.device)) graphs.emplace();
  }

  /// For another video.
  void restart() {
    cache.restart();
    passes.forget_prompt();
  }

  /// Puts the prompt's keys and values where graphs read them: where those of the first were.
  void settle_prompt() {
    if (!graphs || passes.text.empty()) return;
    if (prompt.empty()) prompt = passes.text;
    for (size_t layer = 0; layer < prompt.size(); ++layer) {
      if (prompt[layer].k.is_same(passes.text[layer].k)) continue;
      prompt[layer].k.copy_(passes.text[layer].k);
      prompt[layer].v.copy_(passes.text[layer].v);
      passes.text[layer] = prompt[layer];
    }
  }

  const VideoSize size;
  const TokenGrid grid;
  KvCache cache;
  PlanCache plans;
  PassCache passes;
  std::optional<ChunkGraphs> graphs;  // where chunks are recorded
  std::vector<CrossKv> prompt;
};

namespace {

/// One video (batch) in the making.
class CausalRollout {
 public:
  CausalRollout(const Network& network,
                const RolloutRequest& request,
                const SamplerSettings& sampler,
                KeptOverVideos& kept)
      : network_(network),
        request_(request),
        sampler_(sampler),
        first_sampler_(first_chunk_settings(sampler)),
        guidance_(sampler.guidance_scale, request.negative_text_1TE, network.config.text_len),
        kept_(kept),
        latents_(network.config),
        text_(guidance_.text(request.text_BTE)) {}

  void run(const std::function<void(const RolloutChunk&)>& emit) {
    const at::Device device = request_.text_BTE.device();
    KvCache& cache = kept_.cache;
    kernels::DeviceMark begin(device);
    int64_t first = 0;
    for (int64_t count : chunk_sizes(network_.config, request_.num_frames)) {
      switch_prompt(first);
      if (request_.erase_cache) cache.erase();
      const KvWindow window = cache.window(first, count);
      const PreparedPlan& plan =
          kept_.plans.get(network_.config,
                          cached_plan(network_.config, window.frames, first, count),
                          kept_.grid,
                          request_.text_BTE.options());
      const kernels::DeviceMark cached(device);
      const std::unique_ptr<ChunkCache> windows = chunk_cache_for(
          network_.config, text_.size(0) * plan.key_tokens(), sampler_.kept_window_bytes);
      const ChunkPasses passes{network_,
                               guidance_,
                               first == 0 ? first_sampler_ : sampler_,
                               {text_, plan, window.layers, kept_.passes, windows.get()}};
      const at::Tensor noise = stack_frames(first, count, request_.frame_noise);
      const auto fresh_noise = [&](int64_t k) {
        return stack_frames(
            first, count, [&](int64_t frame) { return request_.frame_renoise(frame, k); });
      };
      kept_.settle_prompt();
      const bool may_replay = first > 0 && window.in_place && !kept_.passes.text.empty();
      ChunkGraph* const graph =
          kept_.graphs && may_replay ? kept_.graphs->graph_for(passes, noise, cache) : nullptr;
      if (graph && request_.before_pass) request_.before_pass();
      const at::Tensor latents = graph ? graph->denoise(plan, noise, fresh_noise)
                                       : denoise(passes, noise, fresh_noise, request_.before_pass);
      emit({.first_frame = first,
            .latents_BFCHW = latents,
            .denoising = {cached, kernels::DeviceMark(device)},
            .caching = {begin, cached},
            .cache_bytes = first == 0 ? 0 : cache.bytes(),
            .replayed = graph != nullptr});
      begin = kernels::DeviceMark(device);
      // Nothing will read the last chunk's keys and values.
      if (first + count < request_.num_frames) {
        cache.append(graph ? graph->finished_kv() : finished_kv(passes, latents), first, count);
        keep_for_recache(first, latents);
      }
      first += count;
    }
  }

 private:
  void keep_for_recache(int64_t first, const at::Tensor& latents) {
    if (request_.prompt_switch == PromptSwitch::kRecache &&
        next_change_ < request_.prompt_changes.size()) {
      latents_.add(first, latents);
    }
  }

  void switch_prompt(int64_t first) {
    if (next_change_ == request_.prompt_changes.size()) return;
    const PromptChange& change = request_.prompt_changes[next_change_];
    TORCH_CHECK(change.first_frame >= first,
                "a prompt must change where a chunk begins, given frame: ",
                change.first_frame);
    if (change.first_frame > first) return;
    ++next_change_;
    text_ = guidance_.text(change.text_BTE);
    kept_.passes.forget_prompt();
    if (request_.prompt_switch == PromptSwitch::kFlush) kept_.cache.flush(kFlushKeepsFrames);
    if (request_.prompt_switch == PromptSwitch::kRecache) {
      latents_.recompute(
          network_,
          text_,
          kept_.passes,
          sampler_.context_noise,
          [&](const at::Tensor& x) { return guidance_.repeat(x); },
          kept_.cache);
    }
  }

  const Network& network_;
  const RolloutRequest& request_;
  const SamplerSettings& sampler_;
  const SamplerSettings first_sampler_;
  const Guidance guidance_;
  KeptOverVideos& kept_;
  AttendedLatents latents_;
  at::Tensor text_;
  size_t next_change_ = 0;
};

}  // namespace

void check_rollout_length(const ModelConfig& config, int64_t num_frames) {
  const int64_t window = config.local_attn_size;
  const bool all = window < 0 || config.has_absolute_positions();
  const int64_t positions = all ? num_frames : std::min(num_frames, window);
  if (positions <= kMaxPositions) return;
  fail_user("{} latent frames with {} need {} positions, and there are {}: {}",
            num_frames,
            window < 0 ? formatted("an unlimited window (local_attn_size {})", window)
            : config.has_absolute_positions() ? "absolute positions (rope_cache_policy absolute)"
                                              : formatted("a window of {} frames", window),
            positions,
            kMaxPositions,
            config.has_absolute_positions()
                ? "take fewer frames"
                : "set a window (local_attn_size; --local-attn-size when "
                  "sampling), or take fewer frames");
}

CausalSampler::CausalSampler(const Network& network, const SamplerSettings& settings)
    : network_(network), settings_(settings) {}

CausalSampler::~CausalSampler() = default;

void CausalSampler::sample(const RolloutRequest& request,
                           const std::function<void(const RolloutChunk&)>& emit) {
  const at::NoGradGuard no_grad;
  check_rollout_length(network_.config, request.num_frames);
  if (kept_ && kept_->size == size_of(request)) {
    kept_->restart();
  } else {
    kept_.reset();  // its memory goes before the next one's comes
    kept_ = std::make_unique<KeptOverVideos>(network_, request, settings_);
  }
  CausalRollout(network_, request, settings_, *kept_).run(emit);
}

void sample_causal(const Network& network,
                   const RolloutRequest& request,
                   const SamplerSettings& sampler,
                   const std::function<void(const RolloutChunk&)>& emit) {
  CausalSampler(network, sampler).sample(request, emit);
}

RolloutChunk sample_bidirectional(const Network& network,
                                  const RolloutRequest& request,
                                  const SamplerSettings& sampler) {
  const at::NoGradGuard no_grad;
  TORCH_CHECK(request.prompt_changes.empty(), "a clip sampled at once has one prompt");
  const ModelConfig& config = network.config;
  const TokenGrid grid = token_grid(config, request.latent_height, request.latent_width);
  const kernels::DeviceMark begin(request.text_BTE.device());
  const at::Tensor noise = stack_frames(0, request.num_frames, request.frame_noise);
  const PreparedPlan plan =
      prepare_plan(config, bidirectional_plan(request.num_frames), grid, noise.options());
  const Guidance guidance(sampler.guidance_scale, request.negative_text_1TE, config.text_len);
  const at::Tensor text = guidance.text(request.text_BTE);
  PassCache kept;
  const std::vector<LayerKv> no_window;
  const SamplerSettings settings = first_chunk_settings(sampler);
  const ChunkPasses passes{network, guidance, settings, {text, plan, no_window, kept}};
  const auto fresh_noise = [&](int64_t k) {
    return stack_frames(
        0, request.num_frames, [&](int64_t frame) { return request.frame_renoise(frame, k); });
  };
  const at::Tensor latents = denoise(passes, noise, fresh_noise, request.before_pass);
  return {.first_frame = 0,
          .latents_BFCHW = latents,
          .denoising = {begin, kernels::DeviceMark(latents.device())},
          .caching = {begin, begin},
          .cache_bytes = 0,
          .replayed = false};
}

}  // namespace vmla::model
