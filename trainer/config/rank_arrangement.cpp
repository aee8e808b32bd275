#include "trainer/config/rank_arrangement.h"

#include "model/config/config_rule.h"
#include "trainer/distributed/sharding/sharding_mode.h"

#include <algorithm>
#include <numeric>

namespace vmla::trainer {

using distributed::GradientCut;
using distributed::ShardingMode;

distributed::MeshShape mesh_shape(const TrainConfig& c, int64_t world, int64_t local_world) {
  const DistributedConfig& d = c.distributed;
  const int64_t sequence = d.sequence_parallel_size;
  if (world % sequence != 0) {
    fail_rule("distributed.sequence_parallel_size",
              "{} does not divide the job's {} {}",
              sequence,
              world,
              world == 1 ? "rank" : "ranks");
  }
  // Ranks over which flat buffers are cut: those of a group, all of them, or none.
  int64_t shard = 1;
  const ShardingMode& mode = distributed::sharding_mode(d.sharding);
  if (mode.within_groups) {
    shard = d.shard_size > 0 ? d.shard_size : local_world;
    if (world % shard != 0) {
      fail_rule("distributed.shard_size", "{} does not divide the job's {} ranks", shard, world);
    }
  } else if (mode.cuts_optimizer) {
    shard = world;
  }
  // Ranks of a sequence group share their clips, so the batch divides over the groups.
  const distributed::MeshShape shape{.world = world, .sequence = sequence, .shard = shard};
  if (c.train.batch_size % shape.data_ranks() != 0) {
    fail_rule("train.batch_size",
              "{} clips do not divide over {} data ranks ({} ranks, sequence_parallel_size {})",
              c.train.batch_size,
              shape.data_ranks(),
              world,
              sequence);
  }
  micro_batch_of(c, shape.data_ranks());  // throws where it does not fit
  return shape;
}

int64_t fewest_ranks(const DistributedConfig& d) {
  const bool in_groups = distributed::sharding_mode(d.sharding).within_groups && d.shard_size > 0;
  return std::lcm(d.sequence_parallel_size, in_groups ? d.shard_size : 1);
}

int64_t micro_batch_of(const TrainConfig& c, int64_t data_ranks) {
  const int64_t share = c.train.batch_size / data_ranks;
  const int64_t micro =
      c.train.micro_batch_size == 0 ? share : std::min(c.train.micro_batch_size, share);
  if (share % micro != 0) {
    fail_rule("train.micro_batch_size",
              "{} does not divide a rank's share of the batch, {} clips",
              c.train.micro_batch_size,
              share);
  }
  return micro;
}

bool is_offloaded(const TrainConfig& config, const std::string& what) {
  // On a CPU everything is in the host's memory already.
  return config.train.device != "cpu" && std::ranges::count(config.distributed.offload, what) > 0;
}

TrainConfig of_one_rank(TrainConfig config, const distributed::MeshShape& mesh) {
  config.train.micro_batch_size = micro_batch_of(config, mesh.data_ranks());
  config.train.batch_size /= mesh.data_ranks();
  return config;
}

bool holds_weights(const DistributedConfig& d) {
  return d.hold_weights != "false";
}

bool scatters_gradients(const DistributedConfig& d) {
  if (d.gradient_accumulation != "auto") return d.gradient_accumulation == "scattered";
  // auto: one sum a step sends less than one in every backward, unless the mode leaves no choice.
  return distributed::sharding_mode(d.sharding).gradients == GradientCut::kAlways;
}

}  // namespace vmla::trainer
