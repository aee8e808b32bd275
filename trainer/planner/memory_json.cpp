#include "trainer/planner/memory_plan.h"

#include <nlohmann/json.hpp>

namespace vmla::trainer {
namespace {

nlohmann::ordered_json role_json(const RoleMemory& memory) {
  const auto& [role, bytes] = memory;
  return {{"training", training_name(role.role.training)},
          {"attention", role.config.attention},
          {"sizes_from", role.sizes_from},
          {"parameters", bytes.parameters},
          {"masters", bytes.masters},
          {"computing", bytes.computing},
          {"mapped", bytes.mapped},
          {"on_host", bytes.on_host},
          {"gradients", bytes.gradients},
          {"first_moments", bytes.first_moments},
          {"second_moments", bytes.second_moments}};
}

/// Bytes and calls of each collective that was used.
nlohmann::ordered_json sent_json(const distributed::CommCounters& sent) {
  auto json = nlohmann::ordered_json::object();
  for (size_t i = 0; i < distributed::kCollectives; ++i) {
    const std::string kind(distributed::collective_name(static_cast<distributed::Collective>(i)));
    if (sent.by_kind[i].calls == 0) continue;
    json[kind] = {{"calls", sent.by_kind[i].calls}, {"bytes", sent.by_kind[i].bytes}};
  }
  return json;
}

nlohmann::ordered_json sent_json(const SentBytes& sent) {
  return {{"bytes", sent.all.bytes()},
          {"collectives", sent_json(sent.all)},
          {"tokens", sent_json(sent.tokens)}};
}

nlohmann::ordered_json update_json(const UpdateMemory& update) {
  nlohmann::ordered_json json = {{"peak", update.peak_bytes},
                                 {"peak_phase", update.highest().name},
                                 {"inputs", update.input_bytes},
                                 {"kept_for_backward", update.kept_bytes}};
  // `sent`: in a step that updates all players. `sent_between`: in a step that updates only the
  // players with update_every = 1.
  json["sent"] = sent_json(update.sent);
  json["sent_between"] = sent_json(update.sent_between);
  for (const PlannedPhase& phase : update.phases) {
    json["phases"][phase.name] = phase.peak_bytes;
    if (phase.executed.kernels == 0) continue;  // nothing was counted
    json["executed_flops"][phase.name] = phase.executed.flops();
    json["executed_bytes"][phase.name] = phase.executed.bytes;
    json["executed_kernels"][phase.name] = phase.executed.kernels;
  }
  return json;
}

}  // namespace

// Sizes in bytes, FLOPs of all ranks, in the order in which the table has them. The names of the
// keys are read by programs: tests and bench/ among them.
std::string memory_json(const MemoryPlan& plan) {
  const ClipShape& clip = plan.media.clip;
  nlohmann::ordered_json json = {
      {"stage", plan.config.stage},
      {"objective", plan.config.objective.name},
      {"gpus", plan.request.mesh.world},
      {"recompute", plan.config.train.recompute},
      {"sharding", plan.config.distributed.sharding},
      {"shard_size", plan.request.mesh.shard},
      {"sequence_parallel_size", plan.request.mesh.sequence},
      {"gradient_accumulation", plan.config.distributed.gradient_accumulation},
      {"hold_weights", plan.config.distributed.hold_weights},
      {"chosen", plan.sharding_reason},
      {"micro_batch_size", plan.config.train.micro_batch_size},
      {"batch_size_per_rank", plan.config.train.batch_size},
      {"latents", {clip.frames, clip.channels, clip.height, clip.width}}};
  for (const RoleMemory& role : plan.roles) json["roles"][role.role.role.name] = role_json(role);
  json["resident"] = plan.step.resident_bytes;
  json["codec"] = plan.step.codec_bytes;
  json["loader"] = plan.step.loader_bytes;
  if (plan.step.host_activation_bytes > 0)
    json["host_activations"] = plan.step.host_activation_bytes;
  for (const UpdateMemory& update : plan.step.updates)
    json["updates"][update.player] = update_json(update);
  json["peak"] = plan.step.peak_bytes;
  json["cycle"] = {{"steps", plan.step.cycle_steps}, {"sent", plan.step.cycle_bytes()}};
  json["rollout_cache"] = plan.rollout_cache_bytes;
  if (plan.largest_micro_batch) json["largest_micro_batch"] = *plan.largest_micro_batch;
  json["checkpoint"] = plan.checkpoint_bytes;
  json["checkpoint_host_copy"] = plan.host_copy_bytes;
  json["sampling_cache"] = {{"frames", plan.cache.frames},
                            {"bytes", plan.cache.bytes},
                            {"dense_bytes", plan.cache.dense_bytes}};
  if (plan.streams) {
    json["videos_sampled_at_once"] = {{"own", plan.streams->own}, {"dense", plan.streams->dense}};
  }
  for (const PhaseFlops& phase : plan.flops) {
    json["flops"]["phases"].push_back(
        {{"phase", phase.phase},
         {"role", phase.role},
         {"player", phase.player},
         {"flops", phase.of_a_step() * static_cast<double>(plan.step_clips)}});
  }
  json["flops"]["step"] = plan.step_flops();
  return json.dump(2) + "\n";
}

}  // namespace vmla::trainer
