#include "trainer/planner/sharding_choice.h"

#include "model/io/error.h"
#include "tests/trainer/drawn_stage.h"
#include "trainer/config/rank_arrangement.h"
#include "trainer/planner/memory_plan.h"

#include <gtest/gtest.h>

namespace vmla::trainer {
namespace {

constexpr int64_t kRanks = 4;

TrainConfig stage(const std::vector<std::string>& more) {
  std::vector<std::string> set = {"distributed.sharding=full",
                                  "train.batch_size=8",
                                  "train.micro_batch_size=1",
                                  "train.recompute=block"};
  set.insert(set.end(), more.begin(), more.end());
  return tiny_stage("dmd.yaml", set);
}

MemoryPlan plan_in(double memory, const std::vector<std::string>& more = {}) {
  const TrainConfig config = stage(more);
  return plan_memory(config,
                     tiny_media(config),
                     {.mesh = mesh_shape(config, kRanks, kRanks), .gpu_memory = memory});
}

struct Way {
  std::string hold, accumulation;
  double peak, sent;
};

/// The four ways, each asked for by name.
std::vector<Way> all_ways() {
  std::vector<Way> ways;
  for (const char* hold : {"true", "false"}) {
    for (const char* accumulation : {"local", "scattered"}) {
      const TrainConfig config =
          stage({formatted("distributed.hold_weights={}", hold),
                 formatted("distributed.gradient_accumulation={}", accumulation)});
      const MemoryPlan plan =
          plan_memory(config, tiny_media(config), {.mesh = mesh_shape(config, kRanks, kRanks)});
      EXPECT_EQ(plan.sharding_reason, "");
      ways.push_back(
          {hold, accumulation, static_cast<double>(plan.step.peak_bytes), plan.step.cycle_bytes()});
    }
  }
  return ways;
}

/// Held weights and local gradients cost memory and save communication; a device of any size gets,
/// among the settings that fit in nine tenths of it, the one with the least communication.
TEST(ShardingChoice, SendsLeastOfWhatFits) {
  const std::vector<Way> ways = all_ways();
  EXPECT_GT(ways[0].peak, ways[3].peak);
  EXPECT_LT(ways[0].sent, ways[3].sent);
  for (const Way& limit : ways) {
    const double memory = 1.0001 * limit.peak / kUsableMemory;
    const Way* best = nullptr;
    for (const Way& way : ways) {
      if (way.peak <= kUsableMemory * memory && (!best || way.sent < best->sent)) best = &way;
    }
    ASSERT_NE(best, nullptr);
    const MemoryPlan plan = plan_in(memory);
    EXPECT_EQ(plan.config.distributed.hold_weights, best->hold);
    EXPECT_EQ(plan.config.distributed.gradient_accumulation, best->accumulation);
    EXPECT_EQ(static_cast<double>(plan.step.peak_bytes), best->peak);
    EXPECT_NE(memory_table(plan).find("least communication among the settings that fit in memory"),
              std::string::npos);
  }
}

TEST(ShardingChoice, TakesTheLeastWhereNothingFits) {
  const std::vector<Way> ways = all_ways();
  const auto least = std::ranges::min_element(ways, {}, &Way::peak);
  const MemoryPlan plan = plan_in(1e3);
  EXPECT_EQ(plan.config.distributed.hold_weights, least->hold);
  EXPECT_EQ(plan.config.distributed.gradient_accumulation, least->accumulation);
  EXPECT_NE(memory_table(plan).find("no setting fits"), std::string::npos);
}

TEST(ShardingChoice, LeavesWhatIsSaid) {
  const MemoryPlan plan = plan_in(1e3, {"distributed.gradient_accumulation=local"});
  EXPECT_EQ(plan.config.distributed.gradient_accumulation, "local");
  EXPECT_EQ(plan.config.distributed.hold_weights, "false");
}

TEST(ShardingChoice, WithoutADeviceSendsLeast) {
  const MemoryPlan full = plan_in(0);
  EXPECT_EQ(full.config.distributed.gradient_accumulation, "local");
  EXPECT_EQ(full.config.distributed.hold_weights, "true");
  EXPECT_NE(full.sharding_reason, "");
  const MemoryPlan zero2 = plan_in(0, {"distributed.sharding=zero2"});
  EXPECT_EQ(zero2.config.distributed.gradient_accumulation, "scattered");
  EXPECT_EQ(zero2.sharding_reason, "");
}

}  // namespace
}  // namespace vmla::trainer
