#include "model/network/prepared_plan.h"

#include <ATen/ATen.h>

#include <map>

namespace vmla::model {
namespace {

/// RoPE times of the plan's keys, then those of the copies, which are moved by time_shift.
std::vector<int64_t> extended_key_times(const AttentionPlan& plan,
                                        const std::vector<PlanRect>& copied_rects) {
  std::vector<int64_t> times = plan.key_times;
  for (const PlanRect& rect : copied_rects) {
    for (int64_t i = 0; i < rect.key_count; ++i) {
      times.push_back(plan.key_times[static_cast<size_t>(rect.key_begin + i)] + rect.time_shift);
    }
  }
  return times;
}

/// Whether two rectangles read the same keys at the same times, so that one copy serves both.
bool same_copy(const PlanRect& a, const PlanRect& b) {
  return a.key_begin == b.key_begin && a.key_count == b.key_count && a.time_shift == b.time_shift;
}

}  // namespace

PreparedPlan prepare_plan(const ModelConfig& config,
                          AttentionPlan plan,
                          TokenGrid grid,
                          const at::TensorOptions& options) {
  PreparedPlan prepared;
  const int64_t tokens = grid.tokens();
  prepared.tokens_per_frame = tokens;
  prepared.query_tokens_per_frame = tokens;

  // Rectangles become segments of token rows. One that moves its keys' times reads a copy of the
  // keys behind all others; values have no position and are read where they are.
  std::vector<PlanRect> copied;
  int64_t next_row = static_cast<int64_t>(plan.key_times.size()) * tokens;
  std::vector<int64_t> copy_rows;
  for (const PlanRect& rect : plan.rects) {
    int64_t key_row = rect.key_begin * tokens;
    if (rect.time_shift != 0) {
      size_t known = 0;
      while (known < copied.size() && !same_copy(copied[known], rect)) ++known;
      if (known == copied.size()) {
        copied.push_back(rect);
        copy_rows.push_back(next_row);
        prepared.key_copies.push_back({rect.key_begin * tokens, rect.key_count * tokens});
        next_row += rect.key_count * tokens;
      }
      key_row = copy_rows[known];
    }
    const kernels::AttentionSegment segment{.query_begin = rect.query_begin * tokens,
                                            .query_count = rect.query_count * tokens,
                                            .key_begin = key_row,
                                            .value_begin = rect.key_begin * tokens,
                                            .key_count = rect.key_count * tokens};
    prepared.segments.push_back(segment);
    if (rect.query_begin >= plan.output_begin) {
      prepared.output_segments.push_back(segment);
      prepared.output_segments.back().query_begin -= plan.output_begin * tokens;
    }
  }

  // Rope tables: one pair of them for each set of pairs that some layer rotates. Dense layers
  // rotate all pairs of a head.
  const std::vector<int64_t> key_times = extended_key_times(plan, copied);
  std::map<std::vector<int64_t>, size_t> known_pairs;
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    std::vector<int64_t> pairs;
    if (config.is_mla()) {
      pairs = rope_pairs(config, layer);
    } else {
      for (int64_t i = 0; i < config.head_dim() / 2; ++i) pairs.push_back(i);
    }
    const auto [known, is_new] = known_pairs.emplace(pairs, prepared.tables.size());
    prepared.tables_of_layer.push_back(known->second);
    if (!is_new) continue;
    const kernels::RopePairSet pair_set{pairs, dense_axis_pairs(config.head_dim())};
    prepared.tables.push_back(
        {pairs,
         kernels::rope_table(plan.query_times, grid.rows, grid.cols, pair_set, options),
         kernels::rope_table(key_times, grid.rows, grid.cols, pair_set, options)});
  }
  prepared.plan = std::move(plan);
  return prepared;
}

PreparedPlan slice_queries(const PreparedPlan& whole, int64_t parts, int64_t index) {
  const int64_t tokens = whole.tokens_per_frame;
  TORCH_CHECK(tokens % parts == 0 && 0 <= index && index < parts,
              "slice ",
              index,
              " of ",
              parts,
              " of frames of ",
              tokens,
              " tokens");
  PreparedPlan slice = whole;
  // Query rows are [frame][token], of which this rank keeps [frame][its tokens]: segments begin and
  // end at frames, so their rows shrink by the factor `parts`.
  slice.query_tokens_per_frame = tokens / parts;
  for (auto* segments : {&slice.segments, &slice.output_segments}) {
    for (kernels::AttentionSegment& segment : *segments) {
      segment.query_begin /= parts;
      segment.query_count /= parts;
    }
  }
  for (PreparedPlan::Tables& tables : slice.tables) {
    for (at::Tensor* angles : {&tables.query.cos, &tables.query.sin})
      *angles = angles->unflatten(0, {-1, parts, tokens / parts}).select(1, index).flatten(0, 1);
  }
  return slice;
}

at::Tensor append_key_copies(const PreparedPlan& plan, const at::Tensor& keys_BM) {
  if (plan.key_copies.empty()) return keys_BM;
  std::vector<at::Tensor> parts = {keys_BM};
  for (const auto& copy : plan.key_copies)
    parts.push_back(keys_BM.narrow(1, copy.begin, copy.count));
  return at::cat(parts, 1);
}

}  // namespace vmla::model
