#include "model/io/error.h"
#include "trainer/planner/memory_plan.h"

namespace vmla::trainer {
namespace {

/// A number of FLOPs with four figures: "7.144 PFLOP".
std::string flops_text(double flops) {
  const char* units[] = {"MFLOP", "GFLOP", "TFLOP", "PFLOP", "EFLOP"};
  double value = flops * 1e-6;
  size_t unit = 0;
  for (; value >= 999.95 && unit + 1 < std::size(units); ++unit) value /= 1000;
  return formatted("{:.4g} {}", value, units[unit]);
}

/// Text that fills a column of `width`, ragged on the right or on the left; longer text stays
/// whole.
std::string left(const std::string& text, size_t width) {
  return text.size() < width ? formatted("{}{}", text, std::string(width - text.size(), ' '))
                             : text;
}
std::string right(const std::string& text, size_t width) {
  return text.size() < width ? formatted("{}{}", std::string(width - text.size(), ' '), text)
                             : text;
}

/// "each of 8 ranks, hybrid over 4, sequence parallel over 2"
std::string ranks_text(const MemoryPlan& plan) {
  const distributed::MeshShape& mesh = plan.request.mesh;
  if (mesh.world == 1) return "one rank";
  std::string text =
      formatted("each of {} ranks, {}", mesh.world, plan.config.distributed.sharding);
  if (mesh.shard > 1) text += formatted(" over {}", mesh.shard);
  if (mesh.sequence > 1) text += formatted(", sequence parallel over {}", mesh.sequence);
  return text;
}

/// "plan of stage dmd (dmd), one rank: micro-batch 4 of 4 clips, latents 9x12x8x8, fp32, recompute
/// none"
std::string head_line(const MemoryPlan& plan) {
  const TrainSection& train = plan.config.train;
  const ClipShape& clip = plan.media.clip;
  return formatted(
      "plan of stage {} ({}), {}: micro-batch {} of {} clips, latents {}x{}x{}x{}, {}, recompute "
      "{}\n",
      plan.config.stage,
      plan.config.objective.name,
      ranks_text(plan),
      train.micro_batch_size,
      train.batch_size,
      clip.frames,
      clip.channels,
      clip.height,
      clip.width,
      train.precision,
      train.recompute);
}

/// A line for each role: what one rank holds of it, and where its sizes come from.
std::string role_lines(const MemoryPlan& plan) {
  constexpr size_t kName = 14, kColumn = 12;
  std::string text = formatted("  {}{}", left("role", kName), left("", 9));
  for (const char* column :
       {"parameters", "masters", "computing", "gradients", "1st moment", "2nd moment"})
    text += right(column, kColumn);
  text += "   sizes from\n";
  for (const auto& [role, bytes] : plan.roles) {
    text += formatted("  {}{}{}",
                      left(role.role.name, kName),
                      left(training_name(role.role.training), 9),
                      right(formatted("{}", bytes.parameters), kColumn));
    for (const int64_t size : {bytes.masters,
                               bytes.computing,
                               bytes.gradients,
                               bytes.first_moments,
                               bytes.second_moments})
      text += right(size_text(size), kColumn);
    text +=
        formatted("   {}{}", role.sizes_from, bytes.mapped > 0 ? " (mapped from its file)" : "");
    if (bytes.on_host > 0)
      text += formatted(" ({} in the host's memory)", size_text(bytes.on_host));
    text += "\n";
  }
  return text;
}

/// A line of three columns: what it is, how much, and a remark.
std::string entry(const std::string& name, const std::string& value, const std::string& remark) {
  return formatted(
      "  {}{}{}{}\n", left(name, 46), right(value, 12), remark.empty() ? "" : "   ", remark);
}

/// "a rank executes 277 MFLOP in 310 kernels, which move 21 MB; its peak"
std::string phase_remark(const PlannedPhase& phase, bool is_highest) {
  std::string text;
  if (phase.executed.kernels > 0) {
    const double flops = phase.executed.flops();
    text = formatted("a rank executes {}{} kernels, which move {}",
                     flops > 0 ? flops_text(flops) + " in " : "",
                     phase.executed.kernels,
                     size_text(static_cast<int64_t>(phase.executed.bytes)));
  }
  if (is_highest) text += text.empty() ? "its peak" : "; its peak";
  return text;
}

/// The peak of each phase of each player's update, and what it consists of besides the roles.
std::string update_lines(const MemoryPlan& plan) {
  std::string text;
  for (const UpdateMemory& update : plan.step.updates) {
    const PlannedPhase& highest = update.highest();
    for (const PlannedPhase& phase : update.phases) {
      text += entry(formatted("{} update: {}", update.player, phase.name),
                    size_text(phase.peak_bytes),
                    phase_remark(phase, &phase == &highest));
    }
    text += entry("  of this: inputs and draws", size_text(update.input_bytes), "");
    text += entry("  of this: kept for backward", size_text(update.kept_bytes), "");
  }
  return text;
}

/// "all_gather 2.31 GB, reduce_scatter 4.56 GB"
std::string kinds_text(const distributed::CommCounters& sent) {
  std::string kinds;
  for (size_t i = 0; i < distributed::kCollectives; ++i) {
    const double bytes = sent.by_kind[i].bytes;
    if (bytes == 0) continue;
    kinds += formatted("{}{} {}",
                       kinds.empty() ? "" : ", ",
                       distributed::collective_name(static_cast<distributed::Collective>(i)),
                       size_text(static_cast<int64_t>(bytes)));
  }
  return kinds;
}

/// The values of gradient_accumulation and hold_weights that are planned with, and why, where
/// `auto` was to be decided.
std::string choice_line(const MemoryPlan& plan) {
  if (plan.request.mesh.shard == 1) return "";
  const DistributedConfig& d = plan.config.distributed;
  std::string text = entry("gradient accumulation", d.gradient_accumulation, plan.sharding_reason);
  if (cuts_used_weights(plan.config))
    text += entry("weights held over rollouts", d.hold_weights, "");
  return text;
}

/// What a rank sends in each player's update, by collective.
std::string sent_lines(const MemoryPlan& plan) {
  std::string text;
  const auto line = [&](const std::string& name, const SentBytes& sent) {
    text += entry(name, size_text(static_cast<int64_t>(sent.all.bytes())), kinds_text(sent.all));
    if (sent.tokens.bytes() > 0)
      text += entry("  of this: to the ranks of its clip",
                    size_text(static_cast<int64_t>(sent.tokens.bytes())),
                    "sequence parallelism");
  };
  const int64_t steps = plan.step.cycle_steps;
  for (const UpdateMemory& update : plan.step.updates) {
    line(formatted("sent in an update of {}", update.player), update.sent);
    if (update.sent_between.all.calls() > 0)
      line(formatted("  in a step that updates {} alone", update.player), update.sent_between);
  }
  return text + entry(steps == 1 ? "sent in a step" : formatted("sent in {} steps", steps),
                      size_text(static_cast<int64_t>(plan.step.cycle_bytes())),
                      "by a rank, all its micro-batches");
}

/// Model FLOPs of a step by phase, of all ranks together.
std::string flops_lines(const MemoryPlan& plan) {
  std::string text;
  const auto clips = static_cast<double>(plan.step_clips);
  for (const PhaseFlops& phase : plan.flops)
    text +=
        entry(formatted("arithmetic: {} update: {} {}", phase.player, phase.role, phase.phase),
              flops_text(phase.of_a_step() * clips),
              phase.update_every == 1 ? "" : formatted("mean over {} steps", phase.update_every));
  return text + entry("arithmetic of a step",
                      flops_text(plan.step_flops()),
                      formatted("{} clips, all ranks; without recomputation", plan.step_clips));
}

/// How many videos one GPU samples side by side, where memory is the limit.
std::string streams_line(const Streams& streams, double gpu_memory) {
  return entry(
      formatted("videos sampled at once in {}", size_text(static_cast<int64_t>(gpu_memory))),
      formatted("{}", streams.own),
      formatted("dense {}", streams.dense));
}

}  // namespace

std::string memory_table(const MemoryPlan& plan) {
  std::string text = head_line(plan) + role_lines(plan);
  text += entry("roles", size_text(plan.step.resident_bytes), "held all the time");
  if (plan.step.codec_bytes > 0)
    text += entry("codec " + plan.media.codec, size_text(plan.step.codec_bytes), "its weights");
  text += entry("batches read ahead", size_text(plan.step.loader_bytes), "");
  text += update_lines(plan);
  if (plan.step.host_activation_bytes > 0) {
    text += entry("activations in the host's memory",
                  size_text(plan.step.host_activation_bytes),
                  "not in the peak");
  }
  text +=
      entry("peak of a step", size_text(plan.step.peak_bytes), "of tensors, with all of the above");
  if (plan.rollout_cache_bytes > 0)
    text +=
        entry("cache of a training rollout", size_text(plan.rollout_cache_bytes), "in the peak");
  if (plan.largest_micro_batch) {
    text += entry(formatted("largest micro-batch in {}",
                            size_text(static_cast<int64_t>(plan.request.gpu_memory))),
                  formatted("{}", *plan.largest_micro_batch),
                  "leave room for the driver and the allocator's gaps");
  }
  if (plan.request.mesh.world > 1) text += choice_line(plan) + sent_lines(plan);
  text += entry("checkpoint", size_text(plan.checkpoint_bytes), "");
  text += entry("copy of it while it is written",
                size_text(plan.host_copy_bytes),
                "of the host's memory, beside the tensors above");
  const bool unlimited = plan.config.model.local_attn_size < 0;
  text += entry("cache of a video being sampled",
                size_text(plan.cache.bytes),
                formatted("{} frames{}; dense {}",
                          plan.cache.frames,
                          unlimited ? " (no window: it grows)" : "",
                          size_text(plan.cache.dense_bytes)));
  if (plan.streams) text += streams_line(*plan.streams, plan.request.gpu_memory);
  return text + flops_lines(plan);
}

std::string size_text(int64_t bytes) {
  const char* units[] = {"B", "kB", "MB", "GB", "TB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  for (; value >= 999.5 && unit + 1 < std::size(units); ++unit) value /= 1000;
  if (bytes == 0) return "-";
  if (value < 99.95 && unit > 0) return formatted("{:.3g} {}", value, units[unit]);
  return formatted("{:.0f} {}", value, units[unit]);
}

std::string memory_comparison(int64_t predicted_bytes, int64_t measured_bytes) {
  return formatted("predicted {}, measured {} (ratio {:.3f})",
                   size_text(predicted_bytes),
                   size_text(measured_bytes),
                   static_cast<double>(predicted_bytes) / static_cast<double>(measured_bytes));
}

}  // namespace vmla::trainer
