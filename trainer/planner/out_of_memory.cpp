#include "trainer/planner/out_of_memory.h"

#include "model/config/recompute.h"
#include "model/io/error.h"
#include "trainer/config/rank_arrangement.h"
#include "trainer/distributed/sharding/sharding_mode.h"
#include "trainer/inputs/stage_data.h"
#include "trainer/planner/memory_plan.h"

#include <c10/util/Exception.h>

#include <new>
#include <optional>

namespace vmla::trainer {
namespace {

using distributed::MeshShape;

/// The first line of what the allocator said. LibTorch's CPU allocator begins it with a place in
/// its source and a condition, which are cut off.
std::string reason_of(const std::exception& error) {
  const auto* torch = dynamic_cast<const c10::Error*>(&error);
  std::string text = torch != nullptr ? torch->what_without_backtrace() : error.what();
  text = text.substr(0, text.find('\n'));
  const size_t allocator = text.find("DefaultCPUAllocator");
  return allocator != std::string::npos ? text.substr(allocator) : text;
}

int64_t planned_peak(const TrainConfig& config, const MeshShape& mesh) {
  return plan_memory(config, planned_media(config), {.mesh = mesh}).step.peak_bytes;
}

/// The micro-batch divided by its smallest factor; nothing when it is one clip.
std::optional<int64_t> smaller_micro_batch(int64_t micro_batch) {
  for (int64_t factor = 2; factor <= micro_batch; ++factor) {
    if (micro_batch % factor == 0) return micro_batch / factor;
  }
  return std::nullopt;
}

/// The plan's peak, and the peak with each setting that lowers it, tried one by one.
std::string plan_text(const TrainConfig& config, const MeshShape& mesh) {
  const int64_t peak = planned_peak(config, mesh);
  std::string text = formatted("; the plan gives this rank up to {} of tensors, beside the program",
                               size_text(peak));
  const auto offer = [&](const std::string& setting, TrainConfig changed, const MeshShape& shape) {
    const int64_t lower = planned_peak(changed, shape);
    if (lower < peak) text += formatted(", {} with {}", size_text(lower), setting);
  };
  TrainConfig changed = config;
  if (const auto less = smaller_micro_batch(micro_batch_of(config, mesh.data_ranks()))) {
    changed.train.micro_batch_size = *less;
    offer(formatted("train.micro_batch_size {}", *less), changed, mesh);
  }
  for (const char* more : {"selective", "block"}) {
    if (!model::recomputes_more(more, config.train.recompute)) continue;
    changed = config;
    changed.train.recompute = more;
    offer(formatted("train.recompute {}", more), changed, mesh);
  }
  const distributed::ShardingMode& most_cut = distributed::most_cut_mode();
  if (mesh.shard < mesh.world) {
    changed = config;
    changed.distributed.sharding = most_cut.name;
    MeshShape cut = mesh;
    cut.shard = mesh.world;
    offer(formatted("distributed.sharding {}", most_cut.name), changed, cut);
  }
  return text + "; vmla analyze memory shows all of it";
}

}  // namespace

bool is_out_of_memory(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) return true;
  if (dynamic_cast<const c10::OutOfMemoryError*>(&error) != nullptr) return true;
  // LibTorch's CPU allocator throws a plain c10::Error, which only its text tells apart.
  return std::string(error.what()).find("can't allocate memory") != std::string::npos;
}

std::string out_of_memory_line(const std::exception& error,
                               const TrainConfig& config,
                               const MeshShape& mesh) {
  const std::string text = formatted("out of memory ({})", reason_of(error));
  try {
    return text + plan_text(config, mesh);
  } catch (const std::exception&) {
    // Why there is no plan would hide what the user has to know: that memory ran out.
    return text;
  }
}

std::string memory_shortage(int64_t predicted_bytes, double device_bytes) {
  if (static_cast<double>(predicted_bytes) <= device_bytes) return {};
  return formatted(
      "memory: a step needs up to {} of tensors, and this GPU has {}: it is likely to run out; "
      "vmla "
      "analyze memory --gpu-memory {:.0f} says with which settings it fits",
      size_text(predicted_bytes),
      size_text(static_cast<int64_t>(device_bytes)),
      device_bytes * 1e-9);
}

}  // namespace vmla::trainer
