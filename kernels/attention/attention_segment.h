#pragma once

#include <cstdint>

namespace vmla::kernels {

/// One rectangle of the attention matrix: every query row in it sees every key in it. Rows, not
/// frames. Keys and values are addressed apart, so that a rectangle may read rotated copies of keys
/// that share values.
struct AttentionSegment {
  int64_t query_begin, query_count;
  int64_t key_begin;
  int64_t value_begin;
  int64_t key_count;
  bool operator==(const AttentionSegment&) const = default;
};

}  // namespace vmla::kernels
