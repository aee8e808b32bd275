#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/attention/attention.h"

namespace vmla::tests {

/// A named list of rectangles and the rows it addresses.
struct TestPlan {
  std::string name;
  int64_t queries, keys, values;
  std::vector<kernels::AttentionSegment> segments;
};

/// One plan of every kind the model builds, in chunks of `c` rows, and a few that only a test
/// would.
inline std::vector<TestPlan> attention_plans(int64_t c) {
  std::vector<TestPlan> plans;
  plans.push_back({"bidirectional", 3 * c, 3 * c, 3 * c, {{0, 3 * c, 0, 0, 3 * c}}});
  plans.push_back({"cross attention", 3 * c, c + 2, c + 2, {{0, 3 * c, 0, 0, c + 2}}});

  TestPlan causal{"chunk causal", 4 * c, 4 * c, 4 * c, {}};
  for (int64_t i = 0; i < 4; ++i) causal.segments.push_back({i * c, c, 0, 0, (i + 1) * c});
  plans.push_back(causal);

  // Rows 0..4c are clean, 4c..8c noisy: noisy chunk i sees the clean chunks before it and itself.
  TestPlan teacher{"teacher forcing", 8 * c, 8 * c, 8 * c, {}};
  for (int64_t i = 0; i < 4; ++i) {
    teacher.segments.push_back({i * c, c, 0, 0, (i + 1) * c});
    teacher.segments.push_back({(4 + i) * c, c, 0, 0, i * c});  // empty for the first chunk
    teacher.segments.push_back({(4 + i) * c, c, (4 + i) * c, (4 + i) * c, c});
  }
  plans.push_back(teacher);

  // A sink of one chunk rotated anew for each query chunk: copies of its keys after row 4c share
  // its values.
  TestPlan window{"sink and window", 4 * c, 6 * c, 4 * c, {}};
  window.segments = {{0, c, 0, 0, c},
                     {c, c, 0, 0, 2 * c},
                     {2 * c, c, 4 * c, 0, c},
                     {2 * c, c, c, c, 2 * c},
                     {3 * c, c, 5 * c, 0, c},
                     {3 * c, c, 2 * c, 2 * c, 2 * c}};
  plans.push_back(window);

  // Query ranges that overlap without being equal, keys seen twice, rows 0 and the last uncovered.
  plans.push_back(
      {"overlapping",
       3 * c,
       2 * c,
       2 * c,
       {{1, 2 * c, 0, 0, c}, {c, 2 * c - 1, c, c, c}, {c, c, 0, 0, 0}, {0, 0, 0, 0, c}}});
  plans.push_back({"nothing", 2 * c, c, c, {}});
  return plans;
}

}  // namespace vmla::tests
