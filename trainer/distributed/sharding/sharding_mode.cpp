#include "trainer/distributed/sharding/sharding_mode.h"

#include "model/io/error.h"

namespace vmla::distributed {
namespace {

constexpr ShardingMode kModes[] = {
    {.name = "replicate", .summary = "nothing"},
    {.name = "zero1",
     .summary = "optimizer state and master weights",
     .cuts_optimizer = true,
     .gradients = GradientCut::kOptional},
    {.name = "zero2",
     .summary = "these and gradients",
     .cuts_optimizer = true,
     .gradients = GradientCut::kAlways},
    {.name = "full",
     .summary = "optimizer state, master weights and the weights in use",
     .cuts_optimizer = true,
     .gradients = GradientCut::kOptional,
     .cuts_used_weights = true},
    {.name = "hybrid",
     .summary = "as full, but over groups of shard_size ranks",
     .cuts_optimizer = true,
     .gradients = GradientCut::kOptional,
     .cuts_used_weights = true,
     .within_groups = true},
};
constexpr const ShardingMode& kMostCut = kModes[3];
static_assert(kMostCut.cuts_used_weights && !kMostCut.within_groups);

}  // namespace

std::span<const ShardingMode> sharding_modes() {
  return kModes;
}

const ShardingMode& sharding_mode(std::string_view name) {
  for (const ShardingMode& mode : kModes) {
    if (mode.name == name) return mode;
  }
  fail_user("sharding '{}' is unknown; valid: {}", name, sharding_names([](const ShardingMode&) {
              return true;
            }));
}

const ShardingMode& most_cut_mode() {
  return kMostCut;
}

std::string sharding_names(bool (*wanted)(const ShardingMode& mode)) {
  std::string names;
  for (const ShardingMode& mode : kModes) {
    if (wanted(mode)) names += formatted("{}{}", names.empty() ? "" : ", ", mode.name);
  }
  return names;
}

const char* sharding_help() {
  static const std::string help = [] {
    std::string text = "what is cut over ranks: ";
    for (const ShardingMode& mode : kModes)
      text += formatted("{}{} ({})", &mode == kModes ? "" : ", ", mode.name, mode.summary);
    return text;
  }();
  return help.c_str();
}

}  // namespace vmla::distributed
