#include "kernels/attention/head_attention_cpu.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/cpu_clones.h"

namespace vmla::kernels {
namespace {

constexpr int64_t kTileRows = 8;  // queries taken together
constexpr int64_t kPad = 16;      // every width is a multiple of the widest register
constexpr double kLog2E = 1.4426950408889634074;
constexpr double kLn2 = 0.69314718055994530942;

constexpr int64_t padded_width(int64_t count) {
  return (count + kPad - 1) / kPad * kPad;
}

// A matrix whose rows are dense and `stride` elements apart.
template <class T>
struct MatrixOf {
  T* data;
  int64_t stride;
  T* row(int64_t i) const { return data + i * stride; }
  MatrixOf from_row(int64_t i) const { return {row(i), stride}; }
  MatrixOf from_column(int64_t c) const { return {data + c, stride}; }
  operator MatrixOf<const T>() const { return {data, stride}; }
};
using Matrix = MatrixOf<float>;
using ConstMatrix = MatrixOf<const float>;

ConstMatrix head_of(const HeadRows<const float>& rows, int64_t b, int64_t n) {
  return {rows.data + b * rows.batch_stride + n * rows.head_stride, rows.row_stride};
}

// Keys and values of a range lie at places of their own.
enum class Side { kKeys, kValues };
int64_t first_of(const KeyRange& range, Side side) {
  return side == Side::kKeys ? range.key_begin : range.value_begin;
}

// What the queries of an interval see. `width`: of their scores, the ranges side by side and each
// padded.
struct SeenKeys {
  const KeyRange* ranges;
  int64_t count;
  int64_t width;
};
SeenKeys keys_of(const HeadAttentionPlan& plan, const QueryInterval& interval) {
  SeenKeys seen{plan.ranges.data() + interval.first_range, interval.range_count, 0};
  for (int64_t r = 0; r < seen.count; ++r) seen.width += padded_width(seen.ranges[r].count);
  return seen;
}

// Scratch of one head, laid out in one block of memory.
struct HeadScratch {
  int64_t padded_K, padded_V;
  // Elements from one row of K^T or V^T to the next; the last tile may read past the last key.
  int64_t key_stride, value_stride;
  int64_t score_stride;
  float* key_columns;    // [K, key_stride]
  float* key_rows;       // [keys, padded_K]
  float* key_sums;       // [keys, padded_K]
  float* value_columns;  // [V, value_stride]
  float* value_rows;     // [values, padded_V]
  float* value_sums;     // [values, padded_V]
  float* q_tile;         // [kTileRows, padded_K]
  float* grad_tile;      // [kTileRows, padded_V]
  float* out_tile;       // [kTileRows, max(padded_K, padded_V)]
  float* weights;        // [kTileRows, score_stride]
  float* score_grads;    // [kTileRows, score_stride]
  int64_t elements;
};

HeadScratch lay_out_scratch(const HeadAttentionSizes& z,
                            const HeadAttentionPlan& plan,
                            float* memory) {
  HeadScratch s{};
  s.padded_K = padded_width(z.K);
  s.padded_V = padded_width(z.V);
  s.key_stride = padded_width(z.keys) + kPad;
  s.value_stride = padded_width(z.values) + kPad;
  for (const QueryInterval& interval : plan.intervals) {
    s.score_stride = std::max(s.score_stride, keys_of(plan, interval).width);
  }
  const auto take = [&](int64_t count) {
    float* at = memory == nullptr ? nullptr : memory + s.elements;
    s.elements += count;
    return at;
  };
  s.key_columns = take(z.K * s.key_stride);
  s.key_rows = take(z.keys * s.padded_K);
  s.key_sums = take(z.keys * s.padded_K);
  s.value_columns = take(z.V * s.value_stride);
  s.value_rows = take(z.values * s.padded_V);
  s.value_sums = take(z.values * s.padded_V);
  s.q_tile = take(kTileRows * s.padded_K);
  s.grad_tile = take(kTileRows * s.padded_V);
  s.out_tile = take(kTileRows * std::max(s.padded_K, s.padded_V));
  s.weights = take(kTileRows * s.score_stride);
  s.score_grads = take(kTileRows * s.score_stride);
  return s;
}

#if defined(__x86_64__) && !defined(__clang__)

namespace level4 {
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v4,prefer-vector-width=512")
#define VMLA_LANES 16
#define VMLA_COLUMNS 2
#include "kernels/attention/head_attention_body.h"
#undef VMLA_LANES
#undef VMLA_COLUMNS
#pragma GCC pop_options
}  // namespace level4

namespace level3 {
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v3")
#define VMLA_LANES 8
#define VMLA_COLUMNS 1
#include "kernels/attention/head_attention_body.h"
#undef VMLA_LANES
#undef VMLA_COLUMNS
#pragma GCC pop_options
}  // namespace level3

#endif

namespace baseline {
#define VMLA_LANES 4
#define VMLA_COLUMNS 1
#include "kernels/attention/head_attention_body.h"
#undef VMLA_LANES
#undef VMLA_COLUMNS
}  // namespace baseline

struct Level {
  void (*forward)(const HeadAttentionForward&, const HeadAttentionPlan&, int64_t, int64_t);
  void (*backward)(const HeadAttentionBackward&, const HeadAttentionPlan&, int64_t, int64_t);
};

Level level_of_this_cpu() {
#if defined(__x86_64__) && !defined(__clang__)
  if (__builtin_cpu_supports("x86-64-v4")) return {level4::forward_head, level4::backward_head};
  if (__builtin_cpu_supports("x86-64-v3")) return {level3::forward_head, level3::backward_head};
#endif
  return {baseline::forward_head, baseline::backward_head};
}

}  // namespace

int64_t head_attention_workspace(const HeadAttentionSizes& sizes, const HeadAttentionPlan& plan) {
  return lay_out_scratch(sizes, plan, nullptr).elements;
}

void head_attention_cpu(const HeadAttentionForward& args, const HeadAttentionPlan& plan) {
  const Level level = level_of_this_cpu();
  for (int64_t b = 0; b < args.sizes.B; ++b) {
    for (int64_t n = 0; n < args.sizes.N; ++n) level.forward(args, plan, b, n);
  }
}

void head_attention_backward_cpu(const HeadAttentionBackward& args, const HeadAttentionPlan& plan) {
  const Level level = level_of_this_cpu();
  for (int64_t b = 0; b < args.sizes.B; ++b) {
    for (int64_t n = 0; n < args.sizes.N; ++n) level.backward(args, plan, b, n);
  }
}

}  // namespace vmla::kernels
