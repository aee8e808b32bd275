#include "trainer/planner/stream_batch.h"

#include "model/network/kv_cache.h"
#include "model/sampling/rollout.h"
#include "trainer/planner/largest_count.h"
#include "trainer/planner/planned_roles.h"
#include "trainer/planner/sizes_only.h"
#include "trainer/roles/stage_precision.h"
#include "trainer/telemetry/tensor_memory.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

namespace vmla::trainer {
namespace {

const at::Device kMeta(at::kMeta);

/// Frames until a chunk finds its window full; without a window a clip's.
int64_t frames_until_full(const model::ModelConfig& model, const ClipShape& clip) {
  const int64_t chunk = model.num_frame_per_block;
  const int64_t cached = model::cache_slots(model, model::CacheKind::kStreaming, clip.frames);
  const int64_t frames = model.local_attn_size < 0 ? clip.frames : cached + 2 * chunk;
  const int64_t first = model.independent_first_frame ? 1 : 0;
  return first + (frames - first) / chunk * chunk;
}

/// The most that is held beyond `before` while so many videos are sampled.
int64_t peak_of(const model::Network& network,
                const ClipShape& clip,
                const at::Tensor& text_BTE,
                const model::SamplerSettings& sampler,
                int64_t before) {
  const auto blank = [&] {
    return at::empty({text_BTE.size(0), clip.channels, clip.height, clip.width},
                     text_BTE.options());
  };
  model::RolloutRequest request;
  request.text_BTE = text_BTE;
  request.num_frames = frames_until_full(network.config, clip);
  request.latent_height = clip.height;
  request.latent_width = clip.width;
  request.frame_noise = [&](int64_t) { return blank(); };
  request.frame_renoise = [&](int64_t, int64_t) { return blank(); };
  reset_tensor_peak(kMeta);
  model::sample_causal(network, request, sampler, [](const model::RolloutChunk&) {});
  return tensor_bytes(kMeta).peak - before;
}

}  // namespace

int64_t largest_stream_batch(const TrainConfig& config,
                             const model::ModelConfig& model,
                             const ClipShape& clip,
                             int64_t text_rows,
                             double bytes) {
  count_tensor_bytes();
  allow_sizes_only_steps();
  const int64_t before = tensor_bytes(kMeta).live;
  const PlannedRole frozen{.role = {.name = "generator", .training = Training::kFrozen},
                           .config = model,
                           .sizes_from = "model"};
  const RoleSet set = sizes_only_roles(config, {frozen}, distributed::Mesh());
  const model::Network network = set.network(set.states.front());
  // As many steps as usual, each of which keeps the embedding of its timestep.
  model::SamplerSettings sampler;
  sampler.kind = model::SamplerKind::kFewStep;
  sampler.guidance_scale = 1;
  // A dense twin has no latents.
  if (model.is_mla())
    sampler.kv_cache_dtype = model::kv_cache_dtype_named(config.sample.kv_cache_dtype);
  const auto peak = [&](int64_t videos, int64_t kept_window_bytes) {
    model::SamplerSettings settings = sampler;
    settings.kept_window_bytes = kept_window_bytes;
    const at::Tensor text = at::empty({videos, text_rows, model.text_dim},
                                      at::device(kMeta).dtype(input_dtype(config)));
    return static_cast<double>(peak_of(network, clip, text, settings, before));
  };
  const auto largest = [&](int64_t kept_window_bytes) {
    return largest_count([&](int64_t videos) { return peak(videos, kept_window_bytes) <= bytes; });
  };
  // Few videos keep their windows over a chunk's passes and many do not, so that one more may need
  // less. Each of the two ways by itself needs more with every video.
  const int64_t rebuilt = largest(0);
  const int64_t window =
      model.local_attn_size < 0 ? frames_until_full(model, clip) : model.local_attn_size;
  const int64_t tokens = window * model::token_grid(model, clip.height, clip.width).tokens();
  if (model::windows_fit(model, rebuilt * tokens, sampler.kept_window_bytes))
    return largest(std::numeric_limits<int64_t>::max());
  // A little beyond that border the first chunks still keep theirs, which are smaller.
  int64_t videos = rebuilt;
  while (videos > 0 && peak(videos, sampler.kept_window_bytes) > bytes) --videos;
  return videos;
}

}  // namespace vmla::trainer
