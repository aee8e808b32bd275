#include "trainer/planner/memory_plan.h"

#include "model/config/dense_twin.h"
#include "model/network/kv_cache.h"
#include "trainer/config/rank_arrangement.h"
#include "trainer/config/stage_roles.h"
#include "trainer/distributed/collectives/dry_communicator.h"
#include "trainer/objectives/objective.h"
#include "trainer/planner/largest_count.h"
#include "trainer/planner/sharding_choice.h"
#include "trainer/planner/stream_batch.h"
#include "trainer/roles/stage_precision.h"

#include <algorithm>

namespace vmla::trainer {
namespace {

/// Bytes that a cache of so many latent frames takes, over all layers (docs/algorithms.md 15.3).
int64_t kv_bytes(const TrainConfig& config,
                 const model::ModelConfig& model,
                 const ClipShape& clip,
                 int64_t frames,
                 model::KvCacheDtype dtype) {
  const auto grid = model::token_grid(model, clip.height, clip.width);
  const auto element = static_cast<int64_t>(c10::elementSize(compute_dtype(config)));
  return frames * grid.tokens() * model::cached_bytes(model, dtype, element);
}

/// The cache of a streaming sampler: sink and window, less the chunk that is being denoised.
RequestCache request_cache(const TrainConfig& config, const ClipShape& clip) {
  const model::ModelConfig dense = model::dense_twin(config.model);
  // Without a window the cache grows with the video; a training clip's length stands for it.
  const int64_t frames =
      model::cache_slots(config.model, model::CacheKind::kStreaming, clip.frames);
  return {.frames = frames,
          .bytes = kv_bytes(config,
                            config.model,
                            clip,
                            frames,
                            model::kv_cache_dtype_named(config.sample.kv_cache_dtype)),
          .dense_bytes = kv_bytes(config, dense, clip, frames, model::KvCacheDtype::kAuto)};
}

/// The largest micro-batch whose step fits into the memory; 0: not even one clip does.
int64_t largest_micro_batch(TrainConfig config,
                            const std::vector<PlannedRole>& roles,
                            const PlannedMedia& media,
                            const MemoryRequest& request) {
  return largest_count([&](int64_t clips) {
    config.train.micro_batch_size = config.train.batch_size = clips;
    const distributed::Mesh mesh = distributed::dry_mesh(request.mesh);
    return static_cast<double>(planned_step(config, roles, media, mesh).peak_bytes) <=
           request.gpu_memory;
  });
}

}  // namespace

MemoryPlan plan_memory(const TrainConfig& config,
                       const PlannedMedia& media,
                       const MemoryRequest& request) {
  return plan_memory(config, planned_roles(config, stage_roles(config)), media, request);
}

MemoryPlan plan_memory(const TrainConfig& config,
                       const std::vector<PlannedRole>& roles,
                       const PlannedMedia& media,
                       const MemoryRequest& request) {
  MemoryPlan plan;
  plan.config = of_one_rank(config, request.mesh);
  plan.request = request;
  plan.media = media;
  if (plan.media.text_rows == 0) plan.media.text_rows = config.model.text_len;
  const ClipShape& clip = plan.media.clip;
  const ShardingChoice choice =
      sharding_choice(config, roles, plan.media, request.mesh, request.gpu_memory);
  plan.config.distributed = choice.distributed;
  plan.sharding_reason = choice.reason;
  plan.step_clips = config.train.batch_size;
  const auto objective = make_objective(config.objective, config.model);
  for (const PlannedRole& role : roles) {
    plan.roles.push_back({role, role_bytes(plan.config, role, request.mesh)});
    // Every shard group holds each element once.
    plan.checkpoint_bytes += plan.roles.back().bytes.saved(role.role.training) * request.mesh.shard;
  }
  // Ranks that hold the same elements save a part of them each, so the whole is shared evenly.
  plan.host_copy_bytes = plan.checkpoint_bytes / request.mesh.world;
  {
    model::ExecutedWork work(at::kMeta);
    plan.step =
        planned_step(plan.config, roles, plan.media, distributed::dry_mesh(request.mesh), &work);
  }
  if (std::ranges::any_of(roles, [](const auto& planned) { return planned.role.rolls_out; })) {
    const int64_t longest = objective_traits(config.objective).max_rollout_frames;
    const int64_t frames = std::max(clip.frames, longest);
    plan.rollout_cache_bytes =
        kv_bytes(config, config.model, clip, frames, model::KvCacheDtype::kAuto) *
        plan.config.train.micro_batch_size;
  }
  plan.cache = request_cache(config, clip);
  plan.flops = objective->training_flops(clip, role_models(roles));
  if (request.gpu_memory > 0) {
    plan.largest_micro_batch = largest_micro_batch(plan.config, roles, plan.media, request);
    const int64_t rows = plan.media.text_rows;
    const auto videos = [&](const model::ModelConfig& model) {
      return largest_stream_batch(plan.config, model, clip, rows, request.gpu_memory);
    };
    plan.streams =
        Streams{.own = videos(config.model), .dense = videos(model::dense_twin(config.model))};
  }
  return plan;
}

}  // namespace vmla::trainer
