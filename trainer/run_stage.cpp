#include "trainer/run_stage.h"

#include "model/io/error.h"
#include "model/io/graceful_stop.h"
#include "model/io/log.h"
#include "model/network/sequence_slices.h"
#include "model/sampling/rollout.h"
#include "trainer/compute_device.h"
#include "trainer/config/stage_roles.h"
#include "trainer/distributed/collectives/lead_work.h"
#include "trainer/evaluation/self_check.h"
#include "trainer/inputs/planned_media.h"
#include "trainer/inputs/stage_codec.h"
#include "trainer/objectives/objective.h"
#include "trainer/pipeline/run_folder.h"
#include "trainer/plan_checks.h"
#include "trainer/planner/fit_proposal.h"
#include "trainer/planner/memory_plan.h"
#include "trainer/planner/out_of_memory.h"
#include "trainer/planner/sharding_choice.h"
#include "trainer/resume.h"
#include "trainer/roles/calibrate.h"
#include "trainer/roles/initial_weights.h"
#include "trainer/run_summary.h"
#include "trainer/stage_end.h"
#include "trainer/start_checks.h"
#include "trainer/telemetry/tensor_memory.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>

namespace vmla::trainer {
namespace {

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// "4 ranks: zero1 over 4, 4 data ranks of 2 clips, sequence parallel over 1".
std::string mesh_line(const TrainConfig& config, const distributed::MeshShape& shape) {
  return formatted("{} ranks: {} over {}, {} data ranks of {} clips, sequence parallel over {}",
                   shape.world,
                   config.distributed.sharding,
                   shape.shard,
                   shape.data_ranks(),
                   config.train.batch_size / shape.data_ranks(),
                   shape.sequence);
}

/// The stage with values in place of `auto` in the section `distributed`. All ranks must choose the
/// same, so the one whose GPU has the least memory decides for all. Collective.
TrainConfig with_sharding_choice(const TrainConfig& config,
                                 const std::vector<Role>& roles,
                                 const distributed::Mesh& mesh) {
  TrainConfig chosen = config;
  const bool asks = mesh.shape().shard > 1 && cuts_used_weights(config);
  const bool own_gpu = config.train.device == "cuda" && config.distributed.backend == "auto";
  // Of memory that ranks share (a CPU's, or a GPU that several use) no rank knows its part.
  if (!asks || !own_gpu) return chosen;
  // The minimum, as the maximum of the negated numbers.
  const at::Tensor least = at::tensor({-device_memory()}, at::kDouble);
  mesh.host().all_reduce(least, distributed::ReduceOp::kMax).wait();
  const ShardingChoice choice = sharding_choice(config,
                                                planned_roles(config, roles),
                                                planned_media(config),
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

/// --dry-run: checks, and prints the plan.
void print_plan(const TrainConfig& config,
                const Objective& objective,
                const distributed::Mesh& mesh) {
  if (!mesh.is_lead()) return;
  check_plan(config, objective);
  const PlannedMedia media = planned_media(config);
  const std::vector<PlannedRole> roles = planned_roles(config, stage_roles(config));
  const MemoryRequest request{.mesh = mesh.shape()};
  std::fputs(memory_table(plan_memory(config, roles, media, request)).c_str(), stdout);
  // One process says nothing of how many GPUs there will be; a stage of a pipeline is planned so.
  if (mesh.shape().world > 1) {
    std::fputs(fit_lines(config, roles, media, request).c_str(), stdout);
  } else if (config.train.device == "cuda") {
    std::fputs("whether it fits, and with which settings: vmla analyze memory --gpus N\n", stdout);
  }
}

/// Rules that depend on the clips' shape: clips are whole chunks, the longest video that will be
/// sampled has enough positions, and a frame's tokens divide over the ranks that share a clip.
/// UserError.
void check_shapes(const TrainConfig& config,
                  const Objective& objective,
                  const ClipShape& clip,
                  const VideoSampler& sampler,
                  const RoleSet& roles,
                  const distributed::Mesh& mesh) {
  if (objective_traits(config.objective).causal) {
    model::chunk_sizes(config.model, clip.frames);
    const int64_t longest = std::max(config.sample.frames, config.sample.long_frames);
    model::check_rollout_length(config.model, sampler.latent_frames_for(config.model, longest));
  }
  objective.check_clip(clip);
  for (const RoleState& role : roles.states)
    model::check_sequence_slices(role.config, clip.height, clip.width, mesh.shape().sequence);
}

/// The first lines of a run: what is trained, on which data, from which weights.
void log_start(const TrainConfig& config,
               const StageData& data,
               const RoleSet& roles,
               const Resume& resume,
               const distributed::Mesh& mesh) {
  log::info("stage {}: {}, {}, {} parameters, {} clips",
            config.stage,
            config.objective.name,
            config.model.attention,
            model::parameter_count(config.model),
            data.clips().size());
  if (mesh.shape().world > 1) log::info(mesh_line(config, mesh.shape()));
  if (resume.checkpoint) {
    log::info("resuming at step {} of {}", resume.checkpoint->info.step, config.train.steps);
    log_changes(resume, config);
  } else {
    log::info("generator: {}", roles.generator_origin.origin);
  }
}

/// Checks once a run, on its own network and shapes, that the masked forward of training equals the
/// cached forward of sampling (docs/architecture.md "What always holds"). RunError where it does
/// not.
void check_forward(const TrainConfig& config, RoleSet& roles, const ClipShape& clip) {
  // The two differ in the order of sums over a clip's tokens; relative to the flow's rms.
  const double tolerance = config.train.precision == "bf16" ? 0.05 : 1e-4;
  const double found = check_mask_equals_cache(
      roles.network(roles.at("generator")), clip, at::Device(config.train.device), tolerance);
  log::info("self-check: masked forward = cached forward, max difference / rms {:g}", found);
}

/// The stage's data; the lead makes what is missing, unless the run goes on from a checkpoint.
/// Collective.
StageData open_data(const TrainConfig& config,
                    const Resume& resume,
                    const distributed::Mesh& mesh) {
  const auto& checkpoint = resume.checkpoint;
  if (mesh.shape().world > 1 && !checkpoint)
    distributed::while_lead_works(mesh, [&] { make_missing_datasets(config); });
  return StageData(config,
                   known_media(config, checkpoint),
                   checkpoint ? StageData::Missing::kRefuse : StageData::Missing::kMake);
}

/// What a run writes before its first step: its folder, its log and how its weights began.
void begin_run(std::optional<RunFolder>& folder,
               const TrainConfig& config,
               const StageData& data,
               const RoleSet& roles,
               const Resume& resume,
               const distributed::Mesh& mesh) {
  if (folder) {
    folder->begin(config);
    log::set_file(folder->path() / "log.txt");
  }
  log::info("set-up 3 of 3: checks");
  log_start(config, data, roles, resume, mesh);
  if (folder && !resume.checkpoint) write_init_report(folder->path(), roles.generator_origin);
}

/// The most that tensors will hold in a step, in bytes.
int64_t predicted_bytes(const TrainConfig& chosen,
                        const RoleSet& roles,
                        const StageData& data,
                        const distributed::Mesh& mesh) {
  const PlannedMedia media{.clip = largest(data.clip_shapes()),
                           .text_rows = data.clips().max_text_rows(),
                           .codec = held_codec(chosen, data.media().codec, data.media().clip)};
  return plan_memory(chosen, planned_roles(roles), media, {.mesh = mesh.shape()}).step.peak_bytes;
}

/// All steps that are left, looking at every one whether the run folder is still there.
void run_steps(Trainer& trainer,
               const StageRequest& request,
               const std::optional<RunFolder>& folder,
               const distributed::Mesh& mesh) {
  Profiler profiler(mesh.is_lead() ? request.profile_steps : 0,
                    request.run_dir / "trace.json",
                    request.config.train.device == "cuda");
  trainer.run(profiler, [&](int64_t step) {
    if (folder) folder->expect_in_place();
    if (request.on_step) request.on_step(step);
  });
  if (trainer.tensor_peak_bytes() == 0) return;
  log::info("memory: {}, the most of any step",
            memory_comparison(trainer.predicted_bytes(), trainer.tensor_peak_bytes()));
}

/// A stage from its configuration to its summary. First everything that the user gave is opened and
/// checked, what costs least first, and nothing is written; then the run folder is begun, and the
/// stage trains. Where ranks build on what the lead does, they meet in a collective behind it: if
/// the lead fails, they end there.
StageResult train_stage(const StageRequest& request, const distributed::Mesh& mesh) {
  const TrainConfig& config = request.config;
  const auto objective = make_objective(config.objective, config.model);
  std::optional<io::GracefulStop> until_started(
      [] { return "nothing has been trained yet; run the same command again"; });
  if (mesh.is_lead()) check_inputs(config, request.run_dir, request.dry_run);
  if (request.dry_run) {
    print_plan(config, *objective, mesh);
    return {};
  }
  prepare_device(config.train.device);
  use_kernels(config);
  check_kernels_on(config.train.device);
  use_attention(config.kernels, at::Device(config.train.device));
  count_tensor_bytes();
  std::optional<RunFolder> folder;
  if (mesh.is_lead()) folder.emplace(request.run_dir, RunFolder::Kind::kStage);
  Resume resume = open_checkpoint(request.config, request.run_dir, request.resume, mesh);
  auto& checkpoint = resume.checkpoint;

  const auto set_up_since = std::chrono::steady_clock::now();
  log::info("set-up 1 of 3: weights");
  // Weights before data: a dataset may take hours to make, and weights that do not fit shall be
  // found before that.
  const std::vector<Role> roles = stage_roles(config);
  // `chosen` holds weights and gradients; everything else takes `config`, which is also what is
  // saved: another machine may choose otherwise.
  const TrainConfig chosen = with_sharding_choice(config, roles, mesh);
  std::unique_ptr<StageData> opened;  // before the weights only where they are calibrated on it
  const auto open_once = [&] {
    // Not make_unique: StageData stays where it is built.
    if (!opened) opened.reset(new StageData(open_data(config, resume, mesh)));
  };
  const Calibrate calibrate_on_data = [&](const auto& dense, const auto& tensors) {
    open_once();
    return calibrate(config, opened->clips(), dense, tensors, &mesh.host());
  };
  RoleSet set =
      build_roles(chosen, roles, checkpoint ? &*checkpoint : nullptr, mesh, calibrate_on_data);
  log::info("set-up 2 of 3: data");
  open_once();
  StageData& data = *opened;
  set.origin.data = checked_identity(config, data, checkpoint, mesh);
  const auto codec = stage_codec(config, data.media());
  objective->use_codec(codec);
  const bool causal = objective_traits(config.objective).causal;
  const VideoSampler sampler(data.media(), text_encoder_options(config.data), !causal, codec);
  for (const ClipShape& clip : data.clip_shapes())
    check_shapes(config, *objective, clip, sampler, set, mesh);
  check_prompt_texts(config, data.media());
  const TrainState state = checkpoint ? restore_training(*checkpoint, set) : TrainState{};
  // Mapped files take room on the disk even after they were removed, as old checkpoints will be.
  if (checkpoint) checkpoint->tensors.reset();

  // What the user gave has been checked: from here on the run folder is written.
  begin_run(folder, config, data, set, resume, mesh);
  if (causal) check_forward(config, set, largest(data.clip_shapes()));
  const int64_t predicted = predicted_bytes(chosen, set, data, mesh);
  if (config.train.device == "cuda") {
    const std::string shortage = memory_shortage(predicted, device_memory());
    if (!shortage.empty()) log::warn(shortage);
  }
  Trainer trainer(
      {config, request.run_dir, *objective, set, data, sampler, mesh}, state, predicted);
  log::info("set-up took {:.1f} s", seconds_since(set_up_since));
  // Ranks stop together from here on, or not at all.
  std::optional<io::GracefulStop> until_ended;
  if (mesh.shape().world > 1) until_ended.emplace(io::GracefulStop::Save());
  until_started.reset();
  run_steps(trainer, request, folder, mesh);
  finish_stage({request, folder ? &*folder : nullptr, trainer, set, data, sampler, mesh});
  // A rank that leaves takes its sockets and, if it is the lead, the job's store with it.
  mesh.host().barrier();
  return {.steps = trainer.state().step,
          .loss = trainer.last().loss(),
          .seconds = trainer.seconds_trained(),
          .already_done = state.step >= config.train.steps};
}

}  // namespace

StageResult run_stage(const StageRequest& request, const distributed::Mesh& mesh) {
  try {
    return train_stage(request, mesh);
  } catch (const std::exception& error) {
    if (!is_out_of_memory(error)) throw;
    fail_run(out_of_memory_line(error, request.config, mesh.shape()));
  }
}

}  // namespace vmla::trainer
