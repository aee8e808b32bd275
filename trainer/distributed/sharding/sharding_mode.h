#pragma once

#include <span>
#include <string>
#include <string_view>

/// What `distributed.sharding` can say: one row a mode. Everything that depends on the mode reads
/// its row; nobody compares names.
namespace vmla::distributed {

/// Whether a rank keeps only its part of the summed gradients between the backward passes of a
/// step, which costs a reduce-scatter in each of them instead of one a step.
enum class GradientCut {
  kNever,     // nothing is cut: there are no parts
  kOptional,  // as `distributed.gradient_accumulation` says
  kAlways,
};

struct ShardingMode {
  std::string_view name;
  /// What is cut over ranks, for the help: "what is cut over ranks: NAME (SUMMARY), ...".
  std::string_view summary;
  /// Master weights, the optimizer's state, and the gradients that the optimizer is given.
  bool cuts_optimizer = false;
  GradientCut gradients = GradientCut::kNever;
  /// The weights that are computed with, frozen roles' too: gathered for every use. Otherwise a
  /// rank has all of them, gathered once after each update.
  bool cuts_used_weights = false;
  /// Cut over groups of `distributed.shard_size` ranks, of which each group holds everything;
  /// otherwise over all ranks of the job.
  bool within_groups = false;
};

/// All modes, the one that cuts least first.
std::span<const ShardingMode> sharding_modes();

/// The mode of this name. UserError with the names there are, when there is no such mode.
const ShardingMode& sharding_mode(std::string_view name);

/// The mode that keeps least on a rank: all is cut, over all ranks.
const ShardingMode& most_cut_mode();

/// "replicate, zero1, ...": the names of the modes for which `wanted` is true.
std::string sharding_names(bool (*wanted)(const ShardingMode& mode));

/// The help of the key `distributed.sharding`.
const char* sharding_help();

}  // namespace vmla::distributed
