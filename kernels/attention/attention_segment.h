#pragma once

#include <cstdint>

namespace vmla::kernels {

/// One rectangle of the attention matrix: every query row in it sees every key row in it. In rows
/// of tokens, not frames. Keys and values have begins of their own, so that a rectangle can read a
/// copy of keys that was rotated to other times while the values stay where they are.
struct AttentionSegment {
  int64_t query_begin, query_count;
  int64_t key_begin;
  int64_t value_begin;
  int64_t key_count;
  bool operator==(const AttentionSegment&) const = default;
};

}  // namespace vmla::kernels
