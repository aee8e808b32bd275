#include "model/network/attention_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <tuple>

#include "model/io/error.h"

namespace vmla::model {
namespace {

using testing::ElementsAre;
using Pair = std::pair<int64_t, int64_t>;

ModelConfig causal(int64_t n, int64_t window = -1, int64_t sink = 0, bool first_alone = false) {
  ModelConfig c;
  c.num_frame_per_block = n;
  c.local_attn_size = window;
  c.sink_size = sink;
  c.independent_first_frame = first_alone;
  return c;
}

/// (query frame, key frame) -> distance in RoPE time between them. Fails if two rectangles overlap.
std::map<Pair, int64_t> distances(const AttentionPlan& plan) {
  std::map<Pair, int64_t> found;
  for (const PlanRect& r : plan.rects) {
    for (int64_t q = r.query_begin; q < r.query_begin + r.query_count; ++q) {
      for (int64_t k = r.key_begin; k < r.key_begin + r.key_count; ++k) {
        const int64_t key_time = plan.key_times.at(static_cast<size_t>(k)) + r.time_shift;
        const int64_t distance = plan.query_times.at(static_cast<size_t>(q)) - key_time;
        EXPECT_TRUE(found.emplace(Pair{q, k}, distance).second) << q << " sees " << k << " twice";
      }
    }
  }
  return found;
}

int64_t chunk_end(const ModelConfig& c, int64_t frame) {
  const int64_t n = c.num_frame_per_block;
  if (!c.independent_first_frame) return (frame / n + 1) * n;
  return frame == 0 ? 1 : 1 + ((frame - 1) / n + 1) * n;
}

/// The rule, frame by frame: sink and the last (window - sink) frames up to the end of the query's
/// chunk; a frame's time is its rank among them.
std::set<int64_t> attended(const ModelConfig& c, int64_t query) {
  const int64_t end = chunk_end(c, query);
  std::set<int64_t> frames;
  for (int64_t k = 0; k < end; ++k) {
    const bool recent = c.local_attn_size < 0 || k >= end - (c.local_attn_size - c.sink_size);
    if (recent || k < c.sink_size || end <= c.local_attn_size) frames.insert(k);
  }
  return frames;
}

int64_t rank_in(const std::set<int64_t>& frames, int64_t frame) {
  return std::distance(frames.begin(), frames.find(frame));
}

struct Setting {
  int64_t n, window, sink;
  bool first_alone;
};

std::vector<Setting> settings() {
  std::vector<Setting> all;
  for (const int64_t n : {1, 2, 3}) {
    for (const bool first_alone : {false, true}) {
      all.push_back({n, -1, 0, first_alone});
      for (const int64_t window : {3, 4, 6, 7, 10}) {
        for (int64_t sink = 0; sink <= 3 && window - sink >= n; ++sink) {
          all.push_back({n, window, sink, first_alone});
        }
      }
    }
  }
  return all;
}

TEST(AttentionPlan, ChunkCausalMaskIsTheRule) {
  for (const Setting& s : settings()) {
    const ModelConfig c = causal(s.n, s.window, s.sink, s.first_alone);
    const int64_t num_frames = 12 + (s.first_alone ? 1 : 0);
    std::map<Pair, int64_t> expected;
    for (int64_t q = 0; q < num_frames; ++q) {
      const auto seen = attended(c, q);
      for (const int64_t k : seen) expected[{q, k}] = rank_in(seen, q) - rank_in(seen, k);
    }
    EXPECT_EQ(distances(chunk_causal_plan(c, num_frames)), expected)
        << "n " << s.n << " window " << s.window << " sink " << s.sink;
  }
}

TEST(AttentionPlan, TeacherForcingMaskIsTheRule) {
  for (const Setting& s : settings()) {
    const ModelConfig c = causal(s.n, s.window, s.sink, s.first_alone);
    const int64_t num_frames = 12 + (s.first_alone ? 1 : 0);
    const int64_t clean = num_frames - s.n;  // the last chunk's clean copy is never seen
    std::map<Pair, int64_t> expected;
    for (int64_t q = 0; q < num_frames; ++q) {
      const auto seen = attended(c, q);
      for (const int64_t k : seen) {
        const int64_t distance = rank_in(seen, q) - rank_in(seen, k);
        if (q < clean) expected[{q, k}] = distance;
        const bool own_chunk = chunk_end(c, k) == chunk_end(c, q);
        expected[{clean + q, own_chunk ? clean + k : k}] = distance;
      }
    }
    const AttentionPlan plan = teacher_forcing_plan(c, num_frames);
    EXPECT_EQ(distances(plan), expected)
        << "n " << s.n << " window " << s.window << " sink " << s.sink;
    EXPECT_EQ(plan.output_begin, clean);
    EXPECT_EQ(teacher_forcing_clean_frames(c, num_frames), clean);
    EXPECT_EQ(plan.window_frames, 0);
  }
}

TEST(AttentionPlan, CachedPlanAndContextAreTheRule) {
  for (const Setting& s : settings()) {
    const ModelConfig c = causal(s.n, s.window, s.sink, s.first_alone);
    const int64_t num_frames = 12 + (s.first_alone ? 1 : 0);
    int64_t first = 0;
    for (const int64_t count : chunk_sizes(c, num_frames)) {
      const auto seen = attended(c, first);
      std::vector<int64_t> context;
      for (const int64_t k : seen) {
        if (k < first) context.push_back(k);
      }
      EXPECT_EQ(attended_context(c, first, count), context);
      std::reverse(context.begin(), context.end());  // slots may hold frames in any order
      const AttentionPlan plan = cached_plan(c, context, first, count);
      const int64_t window = static_cast<int64_t>(context.size());
      std::map<Pair, int64_t> expected;
      for (int64_t q = 0; q < count; ++q) {
        for (const int64_t k : seen) {
          const int64_t column = k >= first ? window + k - first : window - 1 - rank_in(seen, k);
          expected[{q, column}] = rank_in(seen, first + q) - rank_in(seen, k);
        }
      }
      EXPECT_EQ(distances(plan), expected);
      EXPECT_EQ(plan.window_frames, window);
      first += count;
    }
  }
}

TEST(AttentionPlan, PositionsAreRanksInTheAttendedSet) {
  const ModelConfig c = causal(3, 6, 1);
  const AttentionPlan plan = cached_plan(c, {0, 4, 5}, 6, 3);
  EXPECT_THAT(plan.key_times, ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_THAT(plan.query_times, ElementsAre(3, 4, 5));
  EXPECT_THAT(cached_plan(c, {5, 0, 4}, 6, 3).key_times, ElementsAre(2, 0, 1, 3, 4, 5));
  // Nothing evicted: absolute positions, and no key is rotated twice.
  for (const PlanRect& rect : chunk_causal_plan(causal(3, 6, 1), 6).rects) {
    EXPECT_EQ(rect.time_shift, 0);
  }
}

TEST(AttentionPlan, AbsolutePositionsAreTheFramesNumbers) {
  for (const Setting& s : settings()) {
    ModelConfig c = causal(s.n, s.window, s.sink, s.first_alone);
    const int64_t num_frames = 12 + (s.first_alone ? 1 : 0);
    const auto pairs_of = [&](auto&& plan_of) {
      c.rope_cache_policy = "absolute";
      const AttentionPlan plan = plan_of();
      c.rope_cache_policy = "relativistic";
      EXPECT_EQ(attended_pairs(plan), attended_pairs(plan_of()));  // the same frames are seen
      return plan;
    };
    const auto own_numbers = [](const AttentionPlan& plan) {
      for (const PlanRect& rect : plan.rects) EXPECT_EQ(rect.time_shift, 0);
    };
    own_numbers(pairs_of([&] { return chunk_causal_plan(c, num_frames); }));
    own_numbers(pairs_of([&] { return teacher_forcing_plan(c, num_frames); }));
  }
  ModelConfig c = causal(3, 6, 1);
  c.rope_cache_policy = "absolute";
  const AttentionPlan plan = cached_plan(c, {5, 0, 4}, 6, 3);
  EXPECT_THAT(plan.key_times, ElementsAre(5, 0, 4, 6, 7, 8));
  EXPECT_THAT(plan.query_times, ElementsAre(6, 7, 8));
}

TEST(AttentionPlan, RollsAsTheReferenceCache) {
  // Frames a chunk sees, own ones included (docs/algorithms.md 3.5).
  const auto seen = [](const ModelConfig& c, int64_t first) {
    std::vector<int64_t> frames = attended_context(c, first, 3);
    for (int64_t i = 0; i < 3; ++i) frames.push_back(first + i);
    return frames;
  };
  EXPECT_THAT(seen(causal(3, 6, 1), 3), ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_THAT(seen(causal(3, 6, 1), 6), ElementsAre(0, 4, 5, 6, 7, 8));
  EXPECT_THAT(seen(causal(3, 6, 1), 9), ElementsAre(0, 7, 8, 9, 10, 11));
  EXPECT_THAT(seen(causal(3, 12, 3), 12), ElementsAre(0, 1, 2, 6, 7, 8, 9, 10, 11, 12, 13, 14));
}

TEST(AttentionPlan, CountsAttendedPairs) {
  for (const int64_t n : {1, 3}) {
    const ModelConfig c = causal(n);
    // 7 chunks: 1 + 2 + ... + 7 = 28 chunk pairs; teacher forcing doubles them and saves the row
    // of the last clean chunk, which would see 7.
    EXPECT_EQ(attended_pairs(chunk_causal_plan(c, 7 * n)), 28 * n * n);
    EXPECT_EQ(attended_pairs(teacher_forcing_plan(c, 7 * n)), (56 - 7) * n * n);
  }
  EXPECT_EQ(attended_pairs(bidirectional_plan(21)), 21 * 21);
  EXPECT_EQ(attended_pairs(cached_plan(causal(3), {0, 4, 5}, 6, 3)), 3 * 6);
}

TEST(AttentionPlan, OneChunkIsBidirectional) {
  for (const int64_t n : {1, 3}) {
    for (const int64_t window : {int64_t{-1}, n, n + 2}) {
      EXPECT_EQ(chunk_causal_plan(causal(n, window), n), bidirectional_plan(n));
      EXPECT_EQ(cached_plan(causal(n, window), {}, 0, n), bidirectional_plan(n));
      EXPECT_EQ(teacher_forcing_plan(causal(n, window), n), bidirectional_plan(n));
    }
  }
}

TEST(AttentionPlan, RefusesFramesThatChunksDoNotFill) {
  EXPECT_THROW(chunk_causal_plan(causal(3), 7), UserError);
  EXPECT_THROW(teacher_forcing_plan(causal(3, -1, 0, true), 6), UserError);
}

}  // namespace
}  // namespace vmla::model
