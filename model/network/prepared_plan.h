#pragma once

#include "kernels/attention/attention.h"
#include "kernels/rope_3d/rope_3d.h"
#include "model/network/attention_plan.h"
#include "model/network/token_grid.h"

#include <ATen/core/Tensor.h>

#include <vector>

namespace vmla::model {

/// An AttentionPlan for a token grid and a device: rectangles in rows of tokens instead of frames,
/// rope tables, and a list of keys that must be copied because a rectangle reads them at other
/// times. Prepared once (plan_cache.h) and used by every layer and step with that plan and grid.
struct PreparedPlan {
  AttentionPlan plan;
  int64_t tokens_per_frame = 0;
  /// tokens_per_frame / P on one of P ranks that share a sequence (slice_queries).
  int64_t query_tokens_per_frame = 0;

  /// Key rows that some rectangle reads at other times (PlanRect::time_shift). Copies of them are
  /// appended behind the keys in this order, with rope angles of their own.
  struct KeyCopy {
    int64_t begin, count;  // rows of the base keys
  };
  std::vector<KeyCopy> key_copies;

  /// Rope tables of one pair set. Layers that share pairs share tables.
  struct Tables {
    std::vector<int64_t> pairs;
    kernels::RopeTable query;  // [L, pairs]
    kernels::RopeTable key;    // [base keys + copies, pairs]
  };
  std::vector<Tables> tables;
  std::vector<size_t> tables_of_layer;

  std::vector<kernels::AttentionSegment> segments;         // queries: the whole sequence
  std::vector<kernels::AttentionSegment> output_segments;  // queries: frames from output_begin on

  int64_t query_tokens() const { return plan.sequence_frames() * query_tokens_per_frame; }
  int64_t key_tokens() const {
    return static_cast<int64_t>(plan.key_times.size()) * tokens_per_frame;
  }
  int64_t output_token_begin() const { return plan.output_begin * query_tokens_per_frame; }
  const Tables& layer_tables(int64_t layer) const {
    return tables[tables_of_layer[static_cast<size_t>(layer)]];
  }
};

/// The plan for frames of that token grid. Tables are fp32 (fp64 for `options` of fp64) on the
/// options' device.
PreparedPlan prepare_plan(const ModelConfig& config,
                          AttentionPlan plan,
                          TokenGrid grid,
                          const at::TensorOptions& options);

/// The plan of rank `index` of P = `parts`: of every frame's queries the slice [index S/P, (index +
/// 1) S/P), and all keys. A rectangle covers whole frames, so that a slice of it is a rectangle
/// again.
PreparedPlan slice_queries(const PreparedPlan& whole, int64_t parts, int64_t index);

/// Keys [B, M, ...] with the plan's copies behind them; the input itself if there are none.
at::Tensor append_key_copies(const PreparedPlan& plan, const at::Tensor& keys_BM);

}  // namespace vmla::model
