#pragma once

#include "kernels/attention/attention.h"
#include "kernels/rope_3d/rope_3d.h"
#include "model/network/attention_plan.h"
#include "model/network/token_grid.h"

#include <ATen/core/Tensor.h>

#include <vector>

namespace vmla::model {

/// An AttentionPlan made ready for a token grid and a device: rows instead of frames, rope tables,
/// and the copies of keys whose times are moved. Built once, used by every layer and every step
/// with the same plan and grid.
struct PreparedPlan {
  AttentionPlan plan;
  int64_t tokens_per_frame = 0;
  /// Fewer than tokens_per_frame where queries are the slice of one of several ranks.
  int64_t query_tokens_per_frame = 0;

  /// Key rows that rectangles read at other times: appended behind the keys in this order, rotated
  /// anew.
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

/// The plan as rank `index` of `parts` computes it: of every frame's queries the slice [index S/P,
/// (index + 1) S/P), all keys. Frames are whole in every rectangle, so it stays one.
PreparedPlan slice_queries(const PreparedPlan& whole, int64_t parts, int64_t index);

/// [B, M, ...] keys with the plan's copies appended; the input itself where there are none.
at::Tensor append_key_copies(const PreparedPlan& plan, const at::Tensor& keys_BM);

}  // namespace vmla::model
