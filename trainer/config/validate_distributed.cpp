#include "trainer/config/validate_distributed.h"

#include <algorithm>

#include "model/config/config_rule.h"
#include "trainer/config/config_rules.h"
#include "trainer/distributed/sharding/sharding_mode.h"

namespace vmla::trainer {

using distributed::GradientCut;
using distributed::ShardingMode;

void validate_distributed(const TrainConfig& c) {
  const DistributedConfig& d = c.distributed;
  require_one_of("distributed.backend", d.backend, {"auto", "host_staged"});
  std::vector<std::string> modes;
  for (const ShardingMode& known : distributed::sharding_modes()) modes.emplace_back(known.name);
  require_one_of("distributed.sharding", d.sharding, modes);
  const ShardingMode& mode = distributed::sharding_mode(d.sharding);
  // A size of groups would be ignored without a word where the mode does not cut within groups.
  require_at_least("distributed.shard_size", d.shard_size, 0);
  if (d.shard_size > 0 && !mode.within_groups) {
    fail_rule("distributed.shard_size",
              "{} is for sharding: {}; {} cuts {}",
              d.shard_size,
              distributed::sharding_names([](const ShardingMode& m) { return m.within_groups; }),
              mode.name,
              mode.cuts_optimizer ? "over all ranks" : "nothing");
  }
  require_at_least("distributed.sequence_parallel_size", d.sequence_parallel_size, 1);
  require_one_of(
      "distributed.gradient_accumulation", d.gradient_accumulation, {"auto", "local", "scattered"});
  if (d.gradient_accumulation == "scattered" && mode.gradients == GradientCut::kNever) {
    fail_rule("distributed.gradient_accumulation",
              "scattered keeps a part of the gradients, sharding: {} has no parts; use local",
              mode.name);
  }
  if (d.gradient_accumulation == "local" && mode.gradients == GradientCut::kAlways) {
    fail_rule("distributed.gradient_accumulation",
              "local keeps whole gradients, which {} does not; use {}, or auto",
              mode.name,
              distributed::sharding_names([](const ShardingMode& m) {
                return m.gradients == GradientCut::kOptional && !m.cuts_used_weights;
              }));
  }
  for (const std::string& what : d.offload) {
    require_one_of(
        "distributed.offload",
        what,
        {"optimizer", "activations", "generator_ema", "target_ema", "teacher", "real_score"});
    if (what == "activations" && c.train.recompute == "none") {
      fail_rule("distributed.offload",
                "activations: with train.recompute: none all of them are in use at once; take "
                "selective or block");
    }
  }
  require_one_of("distributed.hold_weights", d.hold_weights, {"auto", "true", "false"});
  if (d.hold_weights == "true" && !mode.cuts_used_weights) {
    fail_rule(
        "distributed.hold_weights",
        "true keeps gathered weights, and {} gathers none: every rank has them all; use "
        "auto, or sharding: {}",
        mode.name,
        distributed::sharding_names([](const ShardingMode& m) { return m.cuts_used_weights; }));
  }
  require_positive("distributed.timeout_seconds", d.timeout_seconds);
}

}  // namespace vmla::trainer
