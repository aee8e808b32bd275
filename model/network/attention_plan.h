#pragma once

#include "model/config/model_config.h"

#include <cstdint>
#include <vector>

/// Attention masks as short lists of rectangles, in frames (docs/algorithms.md 3). No LibTorch
/// here: plans are plain arithmetic.
namespace vmla::model {

/// Every query frame of the rectangle sees every key frame of it, with the keys' RoPE times moved
/// by `time_shift`. RoPE is relative, so positions that are re-indexed per query chunk
/// (docs/algorithms.md 3.6: a frame's position is its rank in the ascending attended set) need only
/// move the sink's keys by the number of evicted frames; absolute positions move none.
struct PlanRect {
  int64_t query_begin, query_count;
  int64_t key_begin, key_count;
  int64_t time_shift = 0;
  bool operator==(const PlanRect&) const = default;
};

/// Which frames see which. The sequence is what one forward computes; its keys may be preceded by a
/// window of cached frames.
struct AttentionPlan {
  std::vector<int64_t> query_times;  // RoPE time (position) of each frame of the sequence
  std::vector<int64_t> key_times;    // of each key frame: the window's, then the sequence's
  int64_t window_frames = 0;
  /// Frames of the sequence before this one serve as keys and values only: no flow is computed for
  /// them, and the last layer has no queries of them.
  int64_t output_begin = 0;
  std::vector<PlanRect> rects;

  int64_t sequence_frames() const { return static_cast<int64_t>(query_times.size()); }
  bool operator==(const AttentionPlan&) const = default;
};

/// All frames see all frames.
AttentionPlan bidirectional_plan(int64_t num_frames);

/// Each chunk sees itself and, of the earlier frames, sink ∪ last (window − sink), own chunk
/// included in the window.
AttentionPlan chunk_causal_plan(const ModelConfig& config, int64_t num_frames);

/// Sequence = clean frames, then noisy frames (docs/algorithms.md 3.4). A noisy chunk sees its own
/// noisy frames and the clean version of every earlier attended frame. No noisy token sees the
/// clean copy of the last chunk, so that copy is left out: the sequence has (F − last chunk) + F
/// frames.
AttentionPlan teacher_forcing_plan(const ModelConfig& config, int64_t num_frames);
/// Clean frames in front of the noisy ones in that plan.
int64_t teacher_forcing_clean_frames(const ModelConfig& config, int64_t num_frames);

/// One chunk [first_frame, first_frame + count) against a window whose slots hold the absolute
/// frames `window_frames`, in any order. Times are ranks in the attended set, or the frames'
/// numbers where the config says absolute.
AttentionPlan cached_plan(const ModelConfig& config,
                          const std::vector<int64_t>& window_frames,
                          int64_t first_frame,
                          int64_t count);

/// Absolute frames, ascending, that the chunk [first_frame, first_frame + count) sees before
/// itself.
std::vector<int64_t> attended_context(const ModelConfig& config,
                                      int64_t first_frame,
                                      int64_t count);

/// How many pairs (query frame, key frame) attend, of query frames from `first_query` on.
int64_t attended_pairs(const AttentionPlan& plan, int64_t first_query = 0);

}  // namespace vmla::model
