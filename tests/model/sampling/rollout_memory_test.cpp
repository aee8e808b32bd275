// Sampling runs in constant memory: every chunk of a long video allocates and holds the same.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <memory>

#include "model/network/plan_cache.h"
#include "tests/model/tiny_rollout.h"
#include "tests/support/allocation_log.h"

namespace vmla::model {
namespace {

using tests::AllocationLog;

struct ChunkMemory {
  int64_t live;         // bytes when the chunk is handed out
  int64_t allocated;    // bytes since the chunk before
  int64_t allocations;  // likewise
  bool operator==(const ChunkMemory&) const = default;
};

std::ostream& operator<<(std::ostream& out, const ChunkMemory& m) {
  return out << m.live << " bytes live, " << m.allocated << " in " << m.allocations;
}

std::vector<ChunkMemory> memory_by_chunk(const Network& network,
                                         const RolloutRequest& request,
                                         const SamplerSettings& sampler) {
  const auto log = std::make_shared<AllocationLog>();
  const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, log);
  std::vector<ChunkMemory> chunks;
  AllocationLog before;
  sample_causal(network, request, sampler, [&](const RolloutChunk&) {
    chunks.push_back(
        {log->live, log->allocated - before.allocated, log->allocations - before.allocations});
    before = *log;
  });
  return chunks;
}

class RolloutMemory : public testing::TestWithParam<const char*> {};

TEST_P(RolloutMemory, IsTheSameForEveryChunk) {
  // A ring of three frames and chunks of two: three orders of its slots.
  TinyNetwork net(tiny_causal(GetParam(), 2, 6, 1));
  for (const PromptSwitch kind : {PromptSwitch::kKeep, PromptSwitch::kRecache}) {
    RolloutRequest r = tiny_rollout(net.config, 2 * 60);
    r.prompt_switch = kind;
    r.prompt_changes = {{2 * 59, r.text_BTE}};
    const auto chunks = memory_by_chunk(net.network(), r, tiny_sampler(SamplerKind::kFewStep, 2.0));
    ASSERT_EQ(chunks.size(), 60U);
    // The window is full with the third chunk, and every order has been met three chunks later.
    for (size_t i = 9; i < 59; ++i) EXPECT_EQ(chunks[i], chunks[8]) << "chunk " << i;
  }
}

TEST_P(RolloutMemory, GrowsWithAnUnlimitedWindow) {
  TinyNetwork net(tiny_causal(GetParam(), 2, -1, 0));
  const auto chunks = memory_by_chunk(
      net.network(), tiny_rollout(net.config, 2 * 12), tiny_sampler(SamplerKind::kFewStep));
  // Chunk 1 is the one that allocated the cache, of the whole video.
  for (size_t i = 3; i < 12; ++i) EXPECT_GT(chunks[i].allocated, chunks[i - 1].allocated);
}

INSTANTIATE_TEST_SUITE_P(All, RolloutMemory, testing::Values("dense", "mla"), [](const auto& test) {
  return std::string(test.param);
});

TEST(PlanCache, KeepsEveryOrderOfTheRingAndNoMore) {
  const ModelConfig config = tiny_causal("mla", 2, 6, 1);
  PlanCache plans(streaming_plan_limit(config));
  const auto get = [&](const AttentionPlan& plan) -> const PreparedPlan& {
    return plans.get(config, plan, {2, 3}, at::kDouble);
  };
  const auto order = [&](int64_t turn) {  // frames 0 and {10, 11, 12}, turned
    std::vector<int64_t> frames = {0};
    for (int64_t i = 0; i < 3; ++i) frames.push_back(10 + (i + turn) % 3);
    return cached_plan(config, frames, 13, 2);
  };
  std::vector<at::Tensor> tables;
  for (int64_t turn = 0; turn < 3; ++turn) {
    tables.push_back(get(order(turn)).tables[0].key.cos);
  }
  EXPECT_EQ(plans.size(), 3U);
  for (int64_t turn = 0; turn < 9; ++turn) {
    const PreparedPlan& plan = get(order(turn % 3));
    EXPECT_EQ(plan.plan, order(turn % 3));
    EXPECT_TRUE(plan.tables[0].key.cos.is_same(tables[static_cast<size_t>(turn % 3)]));
  }
  // Another plan takes the place of the one that was used longest ago.
  EXPECT_EQ(get(cached_plan(config, {0, 1}, 2, 2)).plan, cached_plan(config, {0, 1}, 2, 2));
  EXPECT_EQ(plans.size(), 3U);
  EXPECT_TRUE(get(order(2)).tables[0].key.cos.is_same(tables[2]));
  EXPECT_FALSE(get(order(0)).tables[0].key.cos.is_same(tables[0]));
}

}  // namespace
}  // namespace vmla::model
