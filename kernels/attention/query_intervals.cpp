#include <algorithm>

#include "kernels/attention/head_attention_cpu.h"

namespace vmla::kernels {

HeadAttentionPlan plan_query_intervals(const std::vector<AttentionSegment>& segments, int64_t L) {
  std::vector<int64_t> cuts{0, L};
  for (const AttentionSegment& s : segments) {
    cuts.push_back(s.query_begin);
    cuts.push_back(s.query_begin + s.query_count);
  }
  std::sort(cuts.begin(), cuts.end());
  cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());

  HeadAttentionPlan plan;
  for (size_t i = 0; i + 1 < cuts.size(); ++i) {
    const int64_t first_range = static_cast<int64_t>(plan.ranges.size());
    for (const AttentionSegment& s : segments) {
      const bool covers = s.query_begin <= cuts[i] && cuts[i + 1] <= s.query_begin + s.query_count;
      if (!covers || s.query_count == 0 || s.key_count == 0) continue;
      // Ranges that continue each other are one: fewer, longer products.
      KeyRange* last =
          static_cast<int64_t>(plan.ranges.size()) > first_range ? &plan.ranges.back() : nullptr;
      if (last != nullptr && last->key_begin + last->count == s.key_begin &&
          last->value_begin + last->count == s.value_begin) {
        last->count += s.key_count;
      } else {
        plan.ranges.push_back({s.key_begin, s.value_begin, s.key_count});
      }
    }
    plan.intervals.push_back({cuts[i],
                              cuts[i + 1] - cuts[i],
                              first_range,
                              static_cast<int64_t>(plan.ranges.size()) - first_range});
  }
  return plan;
}

}  // namespace vmla::kernels
