#include "model/network/attention_plan.h"

#include <algorithm>
#include <numeric>

namespace vmla::model {
namespace {

struct Chunk {
  int64_t begin, end;
};

std::vector<Chunk> chunks_of(const ModelConfig& config, int64_t num_frames) {
  std::vector<Chunk> chunks;
  int64_t begin = 0;
  for (int64_t size : chunk_sizes(config, num_frames)) {
    chunks.push_back({begin, begin + size});
    begin += size;
  }
  return chunks;
}

/// What a chunk that ends at `end` sees: the recent frames [recent_begin, end), and, once frames
/// have been evicted, the sink [0, sink) at times moved by `sink_shift`. Before that the sink is
/// part of the recent range.
struct Attended {
  int64_t recent_begin;
  int64_t sink;
  int64_t sink_shift;
};

Attended attended_until(const ModelConfig& config, int64_t end) {
  const int64_t window = config.local_attn_size;
  if (window < 0 || end <= window) return {0, 0, 0};
  const int64_t moved = config.has_absolute_positions() ? 0 : end - window;
  return {end - (window - config.sink_size), config.sink_size, moved};
}

std::vector<int64_t> iota(int64_t count) {
  std::vector<int64_t> values(static_cast<size_t>(count));
  std::iota(values.begin(), values.end(), 0);
  return values;
}

/// Rectangles by which `query` frames see the clean frames [recent_begin, key_end) and the sink.
void add_context(std::vector<PlanRect>& rects, Chunk query, const Attended& seen, int64_t key_end) {
  const int64_t count = query.end - query.begin;
  if (key_end > seen.recent_begin) {
    rects.push_back({query.begin, count, seen.recent_begin, key_end - seen.recent_begin, 0});
  }
  if (seen.sink > 0) rects.push_back({query.begin, count, 0, seen.sink, seen.sink_shift});
}

}  // namespace

AttentionPlan bidirectional_plan(int64_t num_frames) {
  AttentionPlan plan;
  plan.query_times = iota(num_frames);
  plan.key_times = plan.query_times;
  plan.rects.push_back({0, num_frames, 0, num_frames, 0});
  return plan;
}

AttentionPlan chunk_causal_plan(const ModelConfig& config, int64_t num_frames) {
  AttentionPlan plan;
  plan.query_times = iota(num_frames);
  plan.key_times = plan.query_times;
  for (const Chunk& chunk : chunks_of(config, num_frames)) {
    add_context(plan.rects, chunk, attended_until(config, chunk.end), chunk.end);
  }
  return plan;
}

int64_t teacher_forcing_clean_frames(const ModelConfig& config, int64_t num_frames) {
  return num_frames - chunk_sizes(config, num_frames).back();
}

AttentionPlan teacher_forcing_plan(const ModelConfig& config, int64_t num_frames) {
  const int64_t clean = teacher_forcing_clean_frames(config, num_frames);
  AttentionPlan plan;
  plan.query_times = iota(clean);
  for (int64_t frame = 0; frame < num_frames; ++frame) plan.query_times.push_back(frame);
  plan.key_times = plan.query_times;
  plan.output_begin = clean;
  for (const Chunk& chunk : chunks_of(config, num_frames)) {
    const Attended seen = attended_until(config, chunk.end);
    // Clean frames [0, clean) come first in the sequence, noisy frame f is frame clean + f. The
    // last chunk has no clean copy.
    if (chunk.end <= clean) add_context(plan.rects, chunk, seen, chunk.end);
    const Chunk noisy = {clean + chunk.begin, clean + chunk.end};
    plan.rects.push_back(
        {noisy.begin, chunk.end - chunk.begin, noisy.begin, chunk.end - chunk.begin, 0});
    add_context(plan.rects, noisy, seen, chunk.begin);
  }
  return plan;
}

AttentionPlan cached_plan(const ModelConfig& config,
                          const std::vector<int64_t>& window_frames,
                          int64_t first_frame,
                          int64_t count) {
  // A frame's RoPE time is its rank among the attended frames, whatever slot it lies in.
  std::vector<int64_t> ascending = window_frames;
  std::sort(ascending.begin(), ascending.end());
  const auto time = [&](int64_t frame) {
    if (config.has_absolute_positions()) return frame;
    return std::lower_bound(ascending.begin(), ascending.end(), frame) - ascending.begin();
  };
  AttentionPlan plan;
  plan.window_frames = static_cast<int64_t>(window_frames.size());
  for (int64_t frame : window_frames) plan.key_times.push_back(time(frame));
  for (int64_t i = 0; i < count; ++i) {
    plan.query_times.push_back(time(first_frame) + i);
    plan.key_times.push_back(plan.query_times.back());
  }
  plan.rects.push_back({0, count, 0, plan.window_frames + count, 0});
  return plan;
}

std::vector<int64_t> attended_context(const ModelConfig& config,
                                      int64_t first_frame,
                                      int64_t count) {
  const Attended seen = attended_until(config, first_frame + count);
  std::vector<int64_t> frames = iota(seen.sink);
  for (int64_t frame = seen.recent_begin; frame < first_frame; ++frame) frames.push_back(frame);
  return frames;
}

int64_t attended_pairs(const AttentionPlan& plan, int64_t first_query) {
  int64_t pairs = 0;
  for (const PlanRect& rect : plan.rects) {
    if (rect.query_begin >= first_query) pairs += rect.query_count * rect.key_count;
  }
  return pairs;
}

}  // namespace vmla::model
