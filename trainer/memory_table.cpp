#include "model/io/error.h"
#include "trainer/memory_plan.h"

#include <nlohmann/json.hpp>

#include <cstdio>

namespace vmla::trainer {
namespace {

std::string formatted(const char* format, double value, const char* unit) {
  char text[48];
  std::snprintf(text, sizeof(text), format, value, unit);
  return text;
}

/// Three figures: 31.2 MB.
std::string size_text(int64_t bytes) {
  const char* units[] = {"B", "kB", "MB", "GB", "TB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  for (; value >= 999.5 && unit + 1 < std::size(units); ++unit) value /= 1000;
  return bytes == 0
             ? "-"
             : formatted(value < 99.95 && unit > 0 ? "%.3g %s" : "%.0f %s", value, units[unit]);
}

/// Four figures: 7.144 PFLOP.
std::string flops_text(double flops) {
  const char* units[] = {"MFLOP", "GFLOP", "TFLOP", "PFLOP", "EFLOP"};
  double value = flops * 1e-6;
  size_t unit = 0;
  for (; value >= 999.95 && unit + 1 < std::size(units); ++unit) value /= 1000;
  return formatted("%.4g %s", value, units[unit]);
}

std::string left(const std::string& text, size_t width) {
  return text.size() < width ? cat(text, std::string(width - text.size(), ' ')) : text;
}
std::string right(const std::string& text, size_t width) {
  return text.size() < width ? cat(std::string(width - text.size(), ' '), text) : text;
}

const char* training_name(Training training) {
  return training == Training::kTrained  ? "trained"
         : training == Training::kFrozen ? "frozen"
                                         : "average";
}

/// "each of 8 ranks, hybrid over 4, sequence parallel over 2"
std::string ranks_text(const MemoryPlan& plan) {
  const distributed::MeshShape& mesh = plan.request.mesh;
  if (mesh.world == 1) return "one rank";
  std::string text = cat("each of ", mesh.world, " ranks, ", plan.config.distributed.sharding);
  if (mesh.shard > 1) text += cat(" over ", mesh.shard);
  if (mesh.sequence > 1) text += cat(", sequence parallel over ", mesh.sequence);
  return text;
}

std::string head_line(const MemoryPlan& plan) {
  const TrainSection& train = plan.config.train;
  const ClipShape& clip = plan.clip;
  return cat("plan of stage ",
             plan.config.stage,
             " (",
             plan.config.objective.name,
             "), ",
             ranks_text(plan),
             ": micro-batch ",
             train.micro_batch_size,
             " of ",
             train.batch_size,
             " clips, latents ",
             clip.frames,
             "x",
             clip.channels,
             "x",
             clip.height,
             "x",
             clip.width,
             ", ",
             train.precision,
             ", recompute ",
             train.recompute,
             "\n");
}

std::string role_lines(const MemoryPlan& plan) {
  constexpr size_t kName = 14, kColumn = 12;
  std::string text = cat("  ", left("role", kName), left("", 9));
  for (const char* column :
       {"parameters", "masters", "computing", "gradients", "1st moment", "2nd moment"})
    text += right(column, kColumn);
  text += "   sizes from\n";
  for (const auto& [role, bytes] : plan.roles) {
    text += cat("  ",
                left(role.role.name, kName),
                left(training_name(role.role.training), 9),
                right(cat(bytes.parameters), kColumn));
    for (const int64_t size : {bytes.masters,
                               bytes.computing,
                               bytes.gradients,
                               bytes.first_moments,
                               bytes.second_moments})
      text += right(size_text(size), kColumn);
    text += cat("   ", role.sizes_from, bytes.mapped > 0 ? " (mapped from its file)" : "");
    if (bytes.on_host > 0) text += cat(" (", size_text(bytes.on_host), " in the host's memory)");
    text += "\n";
  }
  return text;
}

std::string entry(const std::string& name, const std::string& value, const std::string& remark) {
  return cat("  ", left(name, 46), right(value, 12), remark.empty() ? "" : "   ", remark, "\n");
}

std::string update_lines(const MemoryPlan& plan) {
  std::string text;
  for (const UpdateMemory& update : plan.step.updates) {
    const PhaseMemory& highest = update.highest();
    for (const PhaseMemory& phase : update.phases) {
      text += entry(cat(update.player, " update: ", phase.name),
                    size_text(phase.peak_bytes),
                    &phase == &highest ? "its peak" : "");
    }
    text += entry("  of these inputs and draws", size_text(update.input_bytes), "");
    text += entry("  of these kept until a backward ends", size_text(update.kept_bytes), "");
  }
  return text;
}

/// "all_gather 2.31 GB, reduce_scatter 4.56 GB"
std::string kinds_text(const distributed::CommCounters& sent) {
  std::string kinds;
  for (size_t i = 0; i < distributed::kCollectives; ++i) {
    const double bytes = sent.by_kind[i].bytes;
    if (bytes == 0) continue;
    kinds += cat(kinds.empty() ? "" : ", ",
                 distributed::collective_name(static_cast<distributed::Collective>(i)),
                 " ",
                 size_text(static_cast<int64_t>(bytes)));
  }
  return kinds;
}

/// What a rank sends in each player's update, by collective.
std::string sent_lines(const MemoryPlan& plan) {
  std::string text;
  const auto line = [&](const std::string& name, const distributed::CommCounters& sent) {
    text += entry(name, size_text(static_cast<int64_t>(sent.bytes())), kinds_text(sent));
  };
  const int64_t steps = plan.cycle_steps();
  for (const UpdateMemory& update : plan.step.updates) {
    line(cat("sent in an update of ", update.player), update.sent);
    if (update.sent_between.calls() > 0)
      line(cat("  in the steps without the others: ", update.player), update.sent_between);
  }
  return text + entry(steps == 1 ? "sent in a step" : cat("sent in ", steps, " steps"),
                      size_text(static_cast<int64_t>(plan.cycle_bytes())),
                      "by a rank, all its micro-batches");
}

std::string flops_lines(const MemoryPlan& plan) {
  std::string text;
  const auto clips = static_cast<double>(plan.step_clips);
  for (const PhaseFlops& phase : plan.flops)
    text += entry(
        cat("arithmetic: ", phase.role, " ", phase.phase), flops_text(phase.flops * clips), "");
  return text + entry("arithmetic of a step",
                      flops_text(plan.step_flops()),
                      cat(plan.step_clips, " clips, all ranks; without recomputation"));
}

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

/// Bytes by collective.
nlohmann::ordered_json sent_json(const distributed::CommCounters& sent) {
  auto json = nlohmann::ordered_json::object();
  for (size_t i = 0; i < distributed::kCollectives; ++i) {
    const std::string kind(distributed::collective_name(static_cast<distributed::Collective>(i)));
    if (sent.by_kind[i].calls > 0) json[kind] = sent.by_kind[i].bytes;
  }
  return json;
}

nlohmann::ordered_json update_json(const UpdateMemory& update) {
  nlohmann::ordered_json json = {{"peak", update.peak_bytes},
                                 {"peak_phase", update.highest().name},
                                 {"inputs", update.input_bytes},
                                 {"kept_for_backward", update.kept_bytes}};
  json["sent"] = sent_json(update.sent);
  json["sent_between"] = sent_json(update.sent_between);
  for (const PhaseMemory& phase : update.phases) json["phases"][phase.name] = phase.peak_bytes;
  return json;
}

}  // namespace

std::string memory_table(const MemoryPlan& plan) {
  std::string text = head_line(plan) + role_lines(plan);
  text += entry("roles", size_text(plan.step.resident_bytes), "held all the time");
  text += entry("batches read ahead", size_text(plan.step.loader_bytes), "");
  text += update_lines(plan);
  text +=
      entry("peak of a step", size_text(plan.step.peak_bytes), "of tensors, with all of the above");
  if (plan.rollout_cache_bytes > 0)
    text +=
        entry("cache of a training rollout", size_text(plan.rollout_cache_bytes), "in the peak");
  if (plan.largest_micro_batch) {
    text += entry(
        cat("largest micro-batch in ", size_text(static_cast<int64_t>(plan.request.gpu_memory))),
        cat(*plan.largest_micro_batch),
        "leave room for the driver and the allocator's gaps");
  }
  if (plan.request.mesh.world > 1) text += sent_lines(plan);
  text += entry("checkpoint", size_text(plan.checkpoint_bytes), "");
  text += entry("copy of it while it is written",
                size_text(plan.host_copy_bytes),
                "of the host's memory, beside the tensors above");
  const bool unlimited = plan.config.model.local_attn_size < 0;
  text += entry("cache of a video being sampled",
                size_text(plan.cache.bytes),
                cat(plan.cache.frames,
                    " frames",
                    unlimited ? " (no window: it grows)" : "",
                    "; dense ",
                    size_text(plan.cache.dense_bytes)));
  return text + flops_lines(plan);
}

std::string memory_json(const MemoryPlan& plan) {
  nlohmann::ordered_json json = {
      {"stage", plan.config.stage},
      {"objective", plan.config.objective.name},
      {"gpus", plan.request.mesh.world},
      {"sharding", plan.config.distributed.sharding},
      {"shard_size", plan.request.mesh.shard},
      {"sequence_parallel_size", plan.request.mesh.sequence},
      {"micro_batch_size", plan.config.train.micro_batch_size},
      {"batch_size_per_rank", plan.config.train.batch_size},
      {"latents", {plan.clip.frames, plan.clip.channels, plan.clip.height, plan.clip.width}}};
  for (const RoleMemory& role : plan.roles) json["roles"][role.role.role.name] = role_json(role);
  json["resident"] = plan.step.resident_bytes;
  json["loader"] = plan.step.loader_bytes;
  for (const UpdateMemory& update : plan.step.updates)
    json["updates"][update.player] = update_json(update);
  json["peak"] = plan.step.peak_bytes;
  json["cycle"] = {{"steps", plan.cycle_steps()}, {"sent", plan.cycle_bytes()}};
  json["rollout_cache"] = plan.rollout_cache_bytes;
  if (plan.largest_micro_batch) json["largest_micro_batch"] = *plan.largest_micro_batch;
  json["checkpoint"] = plan.checkpoint_bytes;
  json["checkpoint_host_copy"] = plan.host_copy_bytes;
  json["sampling_cache"] = {{"frames", plan.cache.frames},
                            {"bytes", plan.cache.bytes},
                            {"dense_bytes", plan.cache.dense_bytes}};
  for (const PhaseFlops& phase : plan.flops) {
    json["flops"]["phases"].push_back(
        {{"phase", phase.phase},
         {"role", phase.role},
         {"flops", phase.flops * static_cast<double>(plan.step_clips)}});
  }
  json["flops"]["step"] = plan.step_flops();
  return json.dump(2) + "\n";
}

std::string memory_comparison(int64_t predicted_bytes, int64_t measured_bytes) {
  return cat("predicted ",
             size_text(predicted_bytes),
             ", measured ",
             size_text(measured_bytes),
             formatted(" (ratio %.3f%s)",
                       static_cast<double>(predicted_bytes) / static_cast<double>(measured_bytes),
                       ""));
}

}  // namespace vmla::trainer
