#include "model/sampling/rollout.h"

#include "model/io/error.h"
#include "model/network/attention_plan.h"
#include "model/network/kv_cache.h"
#include "model/network/plan_cache.h"
#include "model/sampling/chunk_graph.h"
#include "model/sampling/chunk_passes.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

namespace vmla::model {
namespace {

at::Tensor stack_frames(int64_t first,
                        int64_t count,
                        const std::function<at::Tensor(int64_t)>& frame) {
  std::vector<at::Tensor> frames;
  for (int64_t i = 0; i < count; ++i) frames.push_back(frame(first + i));
  return at::stack(frames, 1);
}

/// One video (batch) in the making.
class CausalRollout {
 public:
  CausalRollout(const Network& network,
                const RolloutRequest& request,
                const SamplerSettings& sampler)
      : network_(network),
        request_(request),
        sampler_(sampler),
        first_sampler_(first_chunk_settings(sampler)),
        guidance_(sampler.guidance_scale, request.negative_text_1TE, network.config.text_len),
        grid_(token_grid(network.config, request.latent_height, request.latent_width)),
        cache_(network.config,
               CacheKind::kStreaming,
               grid_.tokens(),
               request.num_frames,
               sampler.kv_cache_dtype),
        plans_(streaming_plan_limit(network.config)),
        latents_(network.config),
        text_(guidance_.text(request.text_BTE)),
        records_(sampler.cuda_graph && ChunkGraph::can_record(network, request.text_BTE.device())) {
  }

  void run(const std::function<void(const RolloutChunk&)>& emit) {
    const at::Device device = request_.text_BTE.device();
    kernels::DeviceMark begin(device);
    int64_t first = 0;
    for (int64_t count : chunk_sizes(network_.config, request_.num_frames)) {
      switch_prompt(first);
      if (request_.erase_cache) cache_.erase();
      const KvWindow window = cache_.window(first, count);
      const PreparedPlan& plan =
          plans_.get(network_.config,
                     cached_plan(network_.config, window.frames, first, count),
                     grid_,
                     request_.text_BTE.options());
      const kernels::DeviceMark cached(device);
      const std::unique_ptr<ChunkCache> windows = chunk_cache_for(
          network_.config, text_.size(0) * plan.key_tokens(), sampler_.kept_window_bytes);
      const ChunkPasses passes{network_,
                               guidance_,
                               first == 0 ? first_sampler_ : sampler_,
                               {text_, plan, window.layers, kept_, windows.get()}};
      const at::Tensor noise = stack_frames(first, count, request_.frame_noise);
      const auto fresh_noise = [&](int64_t k) {
        return stack_frames(
            first, count, [&](int64_t frame) { return request_.frame_renoise(frame, k); });
      };
      ChunkGraph* const graph = first == 0 ? nullptr : graph_for(passes, noise);
      if (graph && request_.before_pass) request_.before_pass();
      const at::Tensor latents = graph ? graph->denoise(plan, noise, fresh_noise)
                                       : denoise(passes, noise, fresh_noise, request_.before_pass);
      emit({.first_frame = first,
            .latents_BFCHW = latents,
            .denoising = {cached, kernels::DeviceMark(device)},
            .caching = {begin, cached},
            .cache_bytes = cache_.bytes(),
            .replayed = graph != nullptr});
      begin = kernels::DeviceMark(device);
      // Nothing will read the last chunk's keys and values.
      if (first + count < request_.num_frames) {
        cache_.append(graph ? graph->finished_kv() : finished_kv(passes, latents), first, count);
        keep_for_recache(first, latents);
      }
      first += count;
    }
  }

 private:
  /// The recorded passes for this chunk; null where it is to be computed as usual. A shape is
  /// recorded when it comes for the second time, for the first leaves what later passes find.
  ChunkGraph* graph_for(const ChunkPasses& passes, const at::Tensor& noise) {
    if (!records_) return nullptr;
    const ChunkShape shape(passes);
    if (graph_ && graph_->shape() == shape) return graph_.get();
    const bool came_before = last_shape_ == shape;
    last_shape_ = shape;
    if (!came_before || !kept_.times.has_all()) return nullptr;
    graph_.reset();  // its memory goes before the next one's comes
    graph_ = std::make_unique<ChunkGraph>(passes, noise, cache_);
    return graph_.get();
  }

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
    kept_.forget_prompt();
    if (request_.prompt_switch == PromptSwitch::kFlush) cache_.flush(kFlushKeepsFrames);
    if (request_.prompt_switch == PromptSwitch::kRecache) {
      latents_.recompute(
          network_,
          text_,
          kept_,
          sampler_.context_noise,
          [&](const at::Tensor& x) { return guidance_.repeat(x); },
          cache_);
    }
  }

  const Network& network_;
  const RolloutRequest& request_;
  const SamplerSettings sampler_, first_sampler_;
  const Guidance guidance_;
  const TokenGrid grid_;
  KvCache cache_;
  PlanCache plans_;
  AttendedLatents latents_;
  PassCache kept_;
  at::Tensor text_;
  size_t next_change_ = 0;
  const bool records_;
  std::optional<ChunkShape> last_shape_;
  std::unique_ptr<ChunkGraph> graph_;
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

void sample_causal(const Network& network,
                   const RolloutRequest& request,
                   const SamplerSettings& sampler,
                   const std::function<void(const RolloutChunk&)>& emit) {
  const at::NoGradGuard no_grad;
  check_rollout_length(network.config, request.num_frames);
  CausalRollout(network, request, sampler).run(emit);
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
