#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <span>

#include "launch/bench/benchmarks.h"
#include "launch/bench/random_stage.h"
#include "launch/device_wait.h"
#include "model/io/error.h"
#include "model/io/format.h"
#include "model/network/flops.h"
#include "model/sampling/rollout.h"
#include "trainer/evaluation/sampler_settings.h"
#include "trainer/roles/stage_precision.h"

namespace vmla::launch::bench {
namespace {

using namespace trainer;

/// How often the network runs for a chunk: each denoising step, with guidance for both prompts, and
/// the pass that fills the cache.
double passes_of(const model::SamplerSettings& sampler) {
  const auto steps = sampler.kind == model::SamplerKind::kFewStep
                         ? static_cast<double>(sampler.denoising_step_list.size())
                         : static_cast<double>(sampler.steps);
  return (steps + 1) * (sampler.guidance_scale == 1.0 ? 1 : 2);
}

/// A chunk of the video: its frames, and how many earlier ones it sees.
struct ChunkPlace {
  int64_t first, count, context;
};

std::vector<ChunkPlace> chunks_of(const model::ModelConfig& config, int64_t frames) {
  std::vector<ChunkPlace> places;
  int64_t first = 0;
  for (const int64_t count : model::chunk_sizes(config, frames)) {
    const auto context = model::attended_context(config, first, count);
    places.push_back({first, count, static_cast<int64_t>(context.size())});
    first += count;
  }
  return places;
}

/// Model FLOPs of a chunk as docs/algorithms.md 15.1 counts a pass. A little more than what runs:
/// the prompt's keys and values and the timesteps' embeddings are kept over passes, a small model's
/// rebuilt window over a chunk's, and the pass that fills the cache ends before the last layer's
/// queries.
double chunk_flops(const model::ModelConfig& config,
                   const model::SamplerSettings& sampler,
                   const ChunkPlace& chunk,
                   int64_t tokens) {
  const auto context = model::attended_context(config, chunk.first, chunk.count);
  const auto plan = model::cached_plan(config, context, chunk.first, chunk.count);
  return passes_of(sampler) * model::forward_flops(config, plan, tokens).total();
}

/// A video as it came.
struct Streamed {
  /// Of each chunk since the one before: the pass that put that one into the cache, and its own
  /// denoising.
  std::vector<Seconds> chunks;
  int64_t cache_bytes = 0;      // of the last chunk
  int64_t replayed_chunks = 0;  // as CUDA graphs
};

Streamed stream_once(model::CausalSampler& sampler,
                     const model::RolloutRequest& request,
                     at::Device device) {
  Streamed video;
  wait_for(device);
  StopWatch watch;
  sampler.sample(request, [&](const model::RolloutChunk& chunk) {
    wait_for(device);
    video.chunks.push_back(watch.elapsed());
    video.cache_bytes = chunk.cache_bytes;
    video.replayed_chunks += chunk.replayed ? 1 : 0;
    watch = StopWatch();
  });
  return video;
}

/// The first of at least two chunks that see as many frames as the last one, or of those that are
/// nothing but replayed; the last one where every chunk sees more than the one before. UserError
/// where the window is not full in time.
size_t first_steady(const model::ModelConfig& config,
                    const std::vector<ChunkPlace>& places,
                    bool cuda_graph) {
  const ChunkPlace& last = places.back();
  const auto found = std::ranges::find_if(places, [&](const ChunkPlace& chunk) {
    return chunk.count == last.count && chunk.context == last.context;
  });
  // With a graph one is computed, and the passes of the next are recorded before they are replayed.
  const size_t before_replays = cuda_graph ? 2 : 0;
  const auto steady = static_cast<size_t>(found - places.begin()) + before_replays;
  const bool has_two = steady + 2 <= places.size();
  const bool grows = config.local_attn_size < 0;
  if (places.size() < 2 || (!has_two && !grows)) {
    fail_user(
        "bench stream: --chunks {}: no two chunks see as many frames; with a window of {} frames "
        "take {} or more",
        places.size(),
        config.local_attn_size,
        grows ? 2
              : config.local_attn_size / config.num_frame_per_block + 3 +
                    static_cast<int64_t>(before_replays));
  }
  return grows ? places.size() - 1 : steady;
}

/// The last tenth of the steady chunks over the first one, medians: a single chunk may meet a pause
/// of the machine.
double drift_of(std::span<const Seconds> steady) {
  const size_t count = std::max<size_t>(1, steady.size() / 10);
  const auto middle = [](std::span<const Seconds> chunks) {
    std::vector<double> seconds;
    for (const Seconds& chunk : chunks) seconds.push_back(chunk.wall);
    return spread_of(std::move(seconds)).median;
  };
  return middle(steady.last(count)) / middle(steady.first(count));
}

}  // namespace

Outcome time_stream(const Request& request) {
  const TrainConfig& config = request.config;
  const at::NoGradGuard no_grad;
  const at::Device device(config.train.device);
  const ObjectiveTraits traits = objective_traits(config.objective);
  if (!traits.causal) {
    fail_user(
        "bench stream: {} trains on whole clips; give a stage that is causal, such as "
        "configs/tiny/dmd.yaml",
        config.objective.name);
  }
  const PlannedMedia media = planned_media(config);
  const model::ModelConfig& sizes = config.model;
  const int64_t alone = sizes.independent_first_frame ? 1 : 0;
  const int64_t frames = alone + request.chunks * sizes.num_frame_per_block;
  const model::SamplerSettings sampler = sampler_settings(config.sample, traits);
  const bool replays = sampler.cuda_graph && device.is_cuda();
  const std::vector<ChunkPlace> places = chunks_of(sizes, frames);
  const auto steady = static_cast<std::ptrdiff_t>(first_steady(sizes, places, replays));

  model::FrozenWeights weights(sizes,
                               random_tensors(sizes, device),
                               "bench",
                               device,
                               compute_dtype(config),
                               model::MatrixOrder::kForPasses);
  const model::HeldWeights held(weights);
  model::CausalSampler streamer({sizes, weights}, sampler);
  at::Tensor noise =
      at::randn({1, media.clip.channels, media.clip.height, media.clip.width}, at::device(device));
  const at::Tensor text = at::randn({1, sizes.text_len, sizes.text_dim}, at::device(device));
  const model::RolloutRequest video{.text_BTE = text,
                                    .negative_text_1TE = text,
                                    .num_frames = frames,
                                    .latent_height = media.clip.height,
                                    .latent_width = media.clip.width,
                                    .frame_noise = [&](int64_t) { return noise; },
                                    .frame_renoise = [&](int64_t, int64_t) { return noise; },
                                    .prompt_changes = {}};
  const bool grows = sizes.local_attn_size < 0;
  Row first{.name = "first chunk"}, chunk{.name = grows ? "last chunk" : "steady chunk"};
  std::vector<double> drift;
  Streamed streamed;
  for (int64_t i = 0; i < request.repeats.warm_up + request.repeats.count; ++i) {
    streamed = stream_once(streamer, video, device);
    if (i < request.repeats.warm_up) continue;
    const std::vector<Seconds>& chunks = streamed.chunks;
    first.runs.push_back(chunks.front());
    chunk.runs.insert(chunk.runs.end(), chunks.begin() + steady, chunks.end());
    drift.push_back(drift_of(std::span(chunks).subspan(static_cast<size_t>(steady))));
  }
  const model::TokenGrid grid = model::token_grid(sizes, media.clip.height, media.clip.width);
  chunk.flops = chunk_flops(sizes, sampler, places.back(), grid.tokens());
  const model::CodecGeometry codec =
      model::codec_geometry(media.codec.empty() ? config.data.make.codec : media.codec);
  const auto pixel_frames = static_cast<double>(sizes.num_frame_per_block * codec.temporal_factor);
  chunk.figures = {{"frames_per_second", pixel_frames / wall_of(chunk).median},
                   {"passes", passes_of(sampler)},
                   {"cache_bytes", static_cast<double>(streamed.cache_bytes)}};
  if (replays)
    chunk.figures.emplace_back("replayed_chunks", static_cast<double>(streamed.replayed_chunks));
  if (!grows) chunk.figures.emplace_back("last_to_first_steady", spread_of(drift).median);
  return {.subject = formatted(
              "{}, {} layers of width {}; {} chunks of {} frames of {} tokens, window {}, sink {}, "
              "{}",
              sizes.attention,
              sizes.num_layers,
              sizes.dim,
              request.chunks,
              sizes.num_frame_per_block,
              grid.tokens(),
              sizes.local_attn_size,
              sizes.sink_size,
              model::sampler_name(sampler.kind)),
          .rows = {first, chunk}};
}

}  // namespace vmla::launch::bench
