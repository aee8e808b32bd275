#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "analysis/rank/rank_tracker.h"
#include "launch/bench/benchmarks.h"
#include "launch/bench/random_stage.h"
#include "model/conversion/mla_from_dense.h"
#include "model/io/error.h"
#include "model/io/format.h"
#include "model/network/flops.h"
#include "model/sampling/rollout.h"
#include "trainer/evaluation/sampler_settings.h"
#include "trainer/roles/stage_precision.h"

namespace vmla::launch::bench {
namespace {

using namespace trainer;

model::ModelConfig dense_twin(const model::ModelConfig& config) {
  model::ModelConfig dense = config;
  dense.attention = "dense";
  return dense;
}

void expect_latent(const TrainConfig& config, const char* benchmark) {
  if (config.model.is_mla()) return;
  fail_user("bench {}: model.attention is {}; it needs a stage with latent attention (mla)",
            benchmark,
            config.model.attention);
}

/// How often the network runs for a chunk: each denoising step, with guidance for both prompts, and
/// the pass that fills the cache.
double passes_of(const model::SamplerSettings& sampler) {
  const auto steps = sampler.kind == model::SamplerKind::kFewStep
                         ? static_cast<double>(sampler.denoising_step_list.size())
                         : static_cast<double>(sampler.steps);
  return (steps + 1) * (sampler.guidance_scale == 1.0 ? 1 : 2);
}

/// FLOPs of the last whole chunk of a video of so many frames.
double chunk_flops(const model::ModelConfig& config,
                   const model::SamplerSettings& sampler,
                   int64_t frames,
                   int64_t tokens) {
  const int64_t count = config.num_frame_per_block, first = frames - count;
  const auto plan =
      model::cached_plan(config, model::attended_context(config, first, count), first, count);
  return passes_of(sampler) * model::forward_flops(config, plan, tokens).total();
}

/// Chunks of one video as they come, each with the seconds since the one before.
std::vector<Seconds> stream_once(const model::Network& network,
                                 const model::RolloutRequest& request,
                                 const model::SamplerSettings& sampler,
                                 at::Device device,
                                 int64_t& cache_bytes) {
  std::vector<Seconds> chunks;
  finish(device);
  StopWatch watch;
  model::sample_causal(network, request, sampler, [&](const model::RolloutChunk& chunk) {
    finish(device);
    chunks.push_back(watch.elapsed());
    cache_bytes = chunk.cache_bytes;
    watch = StopWatch();
  });
  return chunks;
}

std::string sizes_of(const model::ModelConfig& config) {
  return formatted(
      "{} layers of width {}, {} heads", config.num_layers, config.dim, config.num_heads);
}

at::Tensor joint_matrix(const model::ModelConfig& config, const model::TensorMap& dense) {
  const std::string layer = "blocks.0.self_attn.";
  const at::Tensor key = dense.at(layer + "k.weight").view({config.num_heads, -1, config.dim});
  return at::cat({key.narrow(1, 0, model::layer_dims(config, 0).nope).reshape({-1, config.dim}),
                  dense.at(layer + "v.weight")});
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
  model::FrozenWeights weights(
      sizes, random_tensors(sizes, device), "bench", device, compute_dtype(config));
  const model::HeldWeights held(weights);
  const model::Network network{sizes, weights};
  const model::SamplerSettings sampler = sampler_settings(config.sample, traits);
  const int64_t first_frames = sizes.independent_first_frame ? 1 : 0;
  const int64_t frames = first_frames + request.chunks * sizes.num_frame_per_block;
  const at::Tensor noise =
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

  const int64_t in_window = model::cache_slots(sizes, model::CacheKind::kStreaming, frames);
  // Chunks from this one on see as many frames as every later one.
  const auto steady = static_cast<size_t>(
      std::min(request.chunks - 1,
               1 + (in_window + sizes.num_frame_per_block - 1) / sizes.num_frame_per_block));
  Row first{.name = "first chunk"}, chunk{.name = "steady chunk"};
  std::vector<double> drift;
  int64_t cache_bytes = 0;
  for (int64_t i = 0; i < request.repeats.warm_up + request.repeats.count; ++i) {
    const auto chunks = stream_once(network, video, sampler, device, cache_bytes);
    if (i < request.repeats.warm_up) continue;
    first.runs.push_back(chunks.front());
    chunk.runs.insert(chunk.runs.end(), chunks.begin() + static_cast<long>(steady), chunks.end());
    drift.push_back(chunks.back().wall / chunks[steady].wall);
  }
  const model::TokenGrid grid = model::token_grid(sizes, media.clip.height, media.clip.width);
  chunk.flops = chunk_flops(sizes, sampler, frames, grid.tokens());
  const model::CodecGeometry codec =
      model::codec_geometry(media.codec.empty() ? config.data.make.codec : media.codec);
  const auto pixel_frames = static_cast<double>(sizes.num_frame_per_block * codec.temporal_factor);
  chunk.figures = {{"frames_per_second", pixel_frames / wall_of(chunk).median},
                   {"passes", passes_of(sampler)},
                   {"cache_bytes", static_cast<double>(cache_bytes)},
                   {"last_to_first_steady", spread_of(drift).median}};
  return {
      .subject = formatted("{}, {}; {} chunks of {} frames of {} tokens, window {}, sink {}, {}",
                           sizes.attention,
                           sizes_of(sizes),
                           request.chunks,
                           sizes.num_frame_per_block,
                           grid.tokens(),
                           sizes.local_attn_size,
                           sizes.sink_size,
                           model::sampler_name(sampler.kind)),
      .rows = {first, chunk}};
}

Outcome time_init(const Request& request) {
  const TrainConfig& config = request.config;
  expect_latent(config, "init");
  const model::ModelConfig dense = dense_twin(config.model);
  const model::TensorMap tensors = random_tensors(dense, at::kCPU);
  const std::string& method = config.init.method;
  if (method.empty())
    fail_user("bench init: init.method is empty; give a method, see vmla init --help");
  Row whole{.name = formatted("init.method {}, all layers", method)};
  model::MlaInit made;
  whole.runs = time_runs(at::kCPU, request.repeats, [&] {
    made = model::init_mla_from_dense(config.model, dense, tensors, method, 0);
  });
  double excess = 0;  // over the least error that any matrix of the rank has
  for (const model::InitLayerReport& layer : made.layers)
    excess = std::max(excess, layer.kv_error / layer.kv_optimal_error - 1);
  whole.figures.emplace_back("layers", static_cast<double>(config.model.num_layers));
  whole.figures.emplace_back("error_above_optimal", excess);
  Outcome outcome{.subject = sizes_of(dense), .rows = {whole}};
  // What the method factorises of a layer: keys with values, and queries.
  const at::Tensor joint = joint_matrix(config.model, tensors);
  const at::Tensor query = tensors.at("blocks.0.self_attn.q.weight");
  for (const auto dtype : {at::kFloat, at::kDouble}) {
    Row row{.name = formatted("torch.linalg.svd, {}, one layer", toString(dtype))};
    row.runs = time_runs(at::kCPU, {.warm_up = 0, .count = 1}, [&] {
      at::linalg_svd(joint.to(dtype), /*full_matrices=*/false);
      at::linalg_svd(query.to(dtype), /*full_matrices=*/false);
    });
    row.figures.emplace_back("processor_ratio_all_layers",
                             processor_of(row).median *
                                 static_cast<double>(config.model.num_layers) /
                                 processor_of(whole).median);
    outcome.rows.push_back(std::move(row));
  }
  return outcome;
}

Outcome time_rank(const Request& request) {
  const TrainConfig& config = request.config;
  expect_latent(config, "rank");
  std::vector<analysis::LatentProjections> layers;
  for (int64_t layer = 0; layer < config.model.num_layers; ++layer) {
    const model::LayerDims d = model::layer_dims(config.model, layer);
    layers.push_back({.kv_b = at::randn({d.num_heads * (d.nope + d.v_head), d.kv_rank}).mul_(0.02),
                      .kv_gain = at::randn({d.kv_rank}).mul_(0.02).add_(1),
                      .kv_a = at::randn({d.kv_rank + d.rope, d.dim}).mul_(0.02)});
  }
  const analysis::RankTracker tracker;
  Row ours{.name = "ranks of all layers"};
  std::vector<analysis::LayerRank> ranks;
  ours.runs = time_runs(at::kCPU, request.repeats, [&] { ranks = tracker.measure(layers); });
  const at::Tensor map =
      layers.front().kv_b.matmul(layers.front().kv_a.narrow(0, 0, layers.front().kv_b.size(1)));
  Row peer{.name = "torch.linalg.svdvals, Float, one layer"};
  peer.runs = time_runs(at::kCPU, {.warm_up = 0, .count = 2}, [&] { at::linalg_svdvals(map); });
  peer.figures.emplace_back(
      "processor_ratio_all_layers",
      processor_of(peer).median * static_cast<double>(layers.size()) / processor_of(ours).median);
  Row exact{.name = "singular values of the composed map in fp64, one layer"};
  analysis::Spectrum full;
  exact.runs = time_runs(at::kCPU, {.warm_up = 0, .count = 1}, [&] {
    full = analysis::composed_spectrum_reference(layers.front());
  });
  const analysis::Spectrum& found = ranks.front().spectrum;
  double worst = 0;
  for (size_t i = 0; i < std::min(full.size(), found.size()); ++i)
    worst = std::max(worst, std::abs(found[i] - full[i]) / full.front());
  ours.figures.emplace_back("worst_difference_of_the_largest", worst);
  return {.subject = sizes_of(config.model), .rows = {ours, peer, exact}};
}

}  // namespace vmla::launch::bench
