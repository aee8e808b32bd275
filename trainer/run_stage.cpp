#include "trainer/run_stage.h"

#include "model/io/error.h"
#include "model/io/log.h"
#include "model/network/sequence_slices.h"
#include "model/sampling/rollout.h"
#include "trainer/compute_device.h"
#include "trainer/config/config_difference.h"
#include "trainer/config/config_yaml.h"
#include "trainer/evaluation/self_check.h"
#include "trainer/objectives/registry.h"
#include "trainer/pipeline/run_folder.h"
#include "trainer/planner/memory_plan.h"
#include "trainer/planner/out_of_memory.h"
#include "trainer/planner/sharding_choice.h"
#include "trainer/run_summary.h"
#include "trainer/telemetry/tensor_memory.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <chrono>
#include <cstdio>
#include <future>
#include <thread>

namespace vmla::trainer {
namespace {

/// How a prompt set's stage makes pixels: as its checkpoint says, or the one it starts from.
std::optional<MediaInfo> known_media(const TrainConfig& config,
                                     const std::optional<SavedStage>& checkpoint) {
  if (checkpoint) return read_media_info(checkpoint->info.data_position, "the checkpoint");
  const auto source = config.init_from.find("generator");
  return source == config.init_from.end() ? std::nullopt : checkpoint_media(source->second.path);
}

void log_differences(const std::vector<ConfigDifference>& differences) {
  for (const auto& d : differences)
    log::info("  changed since the checkpoint: {} from {} to {}", d.key, d.saved, d.now);
}

/// "4 ranks: zero1 over 4, sequence 1, 4 data ranks of 2 clips".
std::string mesh_line(const TrainConfig& config, const distributed::MeshShape& shape) {
  return formatted("{} ranks: {} over {}, {} data ranks of {} clips, sequence parallel over {}",
                   shape.world,
                   config.distributed.sharding,
                   shape.shard,
                   shape.data_ranks(),
                   config.train.batch_size / shape.data_ranks(),
                   shape.sequence);
}

/// The stage with what `auto` in the section `distributed` stands for: the same on all ranks, so
/// the smallest of their devices decides.
TrainConfig with_sharding_choice(const TrainConfig& config,
                                 const std::vector<Role>& roles,
                                 const distributed::Mesh& mesh) {
  TrainConfig chosen = config;
  const bool asks = mesh.shape().shard > 1 && cuts_used_weights(config);
  const bool own_gpu = config.train.device == "cuda" && config.distributed.backend == "auto";
  if (!asks || !own_gpu) return chosen;  // of shared memory nobody knows a rank's part
  const at::Tensor least = at::tensor({-device_memory()}, at::kDouble);
  mesh.host().all_reduce(least, distributed::ReduceOp::kMax).wait();
  const ShardingChoice choice = sharding_choice(config,
                                                planned_roles(config, roles),
                                                planned_clip_shape(config),
                                                config.model.text_len,
                                                mesh.shape(),
                                                -least.item<double>());
  chosen.distributed = choice.distributed;
  if (choice.reason.empty()) return chosen;
  log::info("distributed: gradient_accumulation {}, hold_weights {} ({})",
            choice.distributed.gradient_accumulation,
            choice.distributed.hold_weights,
            choice.reason);
  return chosen;
}

/// The lead makes what is missing, in however many hours, while the other ranks ask now and then:
/// no collective waits longer than its timeout, and a death is noticed.
void make_datasets_on_lead(const TrainConfig& config, const distributed::Mesh& mesh) {
  std::future<void> made;
  if (mesh.is_lead()) made = std::async(std::launch::async, make_missing_datasets, config);
  const auto is_made = [&] {
    return !made.valid() || made.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  };
  while (!mesh.everywhere(is_made())) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  if (made.valid()) made.get();
  mesh.host().barrier();  // where the lead failed, the others end here
}

StageResult run_in_memory(const StageRequest& request, const distributed::Mesh& mesh) {
  const TrainConfig& config = request.config;
  const auto objective = make_objective(config.objective, config.model);
  const std::vector<Role> roles = stage_roles(config, *objective);
  if (request.dry_run) {
    if (!mesh.is_lead()) return {};
    check_sources(config);
    const ClipShape clip = planned_clip_shape(config);
    objective->check_clip(clip);
    std::fputs(memory_table(plan_memory(config, clip, {.mesh = mesh.shape()})).c_str(), stdout);
    return {};
  }

  prepare_device(config.train.device);
  count_tensor_bytes();
  // Each of the lead's steps that the others build on ends at a barrier: where it fails, they do.
  std::optional<RunFolder> folder;
  if (mesh.is_lead()) folder.emplace(request.run_dir, RunFolder::Kind::kStage);
  auto checkpoint = open_resume(request.run_dir / "checkpoints", request.resume, mesh);
  std::vector<ConfigDifference> differences;
  if (checkpoint) {
    differences =
        check_resume(parse_resolved(checkpoint->info.config_yaml, "the checkpoint's config"),
                     config,
                     request.run_dir.string());
  }
  // Before the data, which may take hours to make: what a stage cannot start from costs nothing.
  const TrainConfig chosen = with_sharding_choice(config, roles, mesh);
  RoleSet set = build_roles(chosen, roles, checkpoint ? &*checkpoint : nullptr, mesh);
  if (mesh.shape().world > 1) make_datasets_on_lead(config, mesh);
  StageData data(config, *objective, known_media(config, checkpoint));
  objective->use_codec(model::make_video_codec(data.media().codec));
  const VideoSampler sampler(data.media(), !objective->causal());
  if (objective->causal()) {
    model::chunk_sizes(config.model, data.clip_shape().frames);
    const int64_t longest = std::max(config.sample.frames, config.sample.long_frames);
    model::check_rollout_length(config.model, sampler.latent_frames_for(config.model, longest));
  }
  objective->check_clip(data.clip_shape());
  for (const RoleState& role : set.states) {
    const ClipShape clip = data.clip_shape();
    model::check_sequence_slices(role.config, clip.height, clip.width, mesh.shape().sequence);
  }
  const TrainState state = checkpoint ? restore_training(*checkpoint, set) : TrainState{};
  if (checkpoint)
    checkpoint->tensors.reset();  // mapped files keep their room after they are pruned
  // Nothing the user gave can be wrong any more: from here on the run folder is written.
  if (folder) {
    folder->begin(config);
    log::set_file(folder->path() / "log.txt");
  }
  log::info("stage {}: {}, {}, {} parameters, {} clips",
            config.stage,
            config.objective.name,
            config.model.attention,
            model::parameter_count(config.model),
            data.clips().size());
  if (mesh.shape().world > 1) log::info(mesh_line(config, mesh.shape()));
  if (checkpoint) {
    log::info("resuming at step {} of {}", state.step, config.train.steps);
    log_differences(differences);
  } else {
    log::info("generator: {}", set.generator_origin.origin);
    if (folder) write_init_report(folder->path(), set.generator_origin);
  }

  RoleState& generator = set.at("generator");
  if (objective->causal()) {
    const double tolerance = config.train.precision == "bf16" ? 0.05 : 1e-4;
    const double found = check_mask_equals_cache(
        set.network(generator), data.clip_shape(), at::Device(config.train.device), tolerance);
    log::info("self-check: masked forward = cached forward, max difference / rms {:g}", found);
  }

  const MemoryPlan plan =
      plan_memory(chosen,
                  planned_roles(set),
                  data.clip_shape(),
                  {.mesh = mesh.shape(), .text_rows = data.clips().max_text_rows()});
  Trainer trainer(
      config, request.run_dir, *objective, set, data, state, plan.step.peak_bytes, mesh);
  const StopSignal stop;
  Profiler profiler(mesh.is_lead() ? request.profile_steps : 0, request.run_dir / "trace.json");
  trainer.run(stop, profiler, request.on_step);
  if (trainer.tensor_peak_bytes() > 0) {
    log::info("memory: {}, the most of any step",
              memory_comparison(trainer.predicted_bytes(), trainer.tensor_peak_bytes()));
  }

  const RoleState& best = trainer.best();
  std::optional<StageMeasures> measures;
  if ((config.sample.measure_clips > 0 || config.sample.long_frames > 0) && data.held_out()) {
    measures = measure_stage(config, *objective, sampler, set.network(best), *data.held_out());
  }
  if (folder) write_summary(folder->path(), config, trainer, measures);
  mesh.host().barrier();  // nobody leaves while another still needs it
  return {.steps = trainer.state().step,
          .loss = trainer.last().loss(),
          .seconds = trainer.seconds_trained(),
          .already_done = state.step >= config.train.steps};
}

}  // namespace

StageResult run_stage(const StageRequest& request, const distributed::Mesh& mesh) {
  try {
    return run_in_memory(request, mesh);
  } catch (const std::exception& error) {
    if (!is_out_of_memory(error)) throw;
    fail_run(out_of_memory_line(error, request.config, mesh.shape()));
  }
}

}  // namespace vmla::trainer
