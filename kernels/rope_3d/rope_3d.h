#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <vector>

namespace vmla::kernels {

/// Angles of a sequence of tokens in (frame, row, column) order: cos and sin, [L, num_pairs], fp32
/// (or fp64).
struct RopeTable {
  at::Tensor cos;
  at::Tensor sin;

  /// The angles of tokens [first, first + count), as views.
  RopeTable rows(int64_t first, int64_t count) const;
};

/// Which complex pairs of a dense head are rotated, and how that head divides its pairs over the
/// axes.
struct RopePairSet {
  /// Indices into the dense head's pairs, in the order of the rope channels.
  std::vector<int64_t> pairs;
  /// How many pairs of the dense head belong to time, height and width (Wan: 22, 21, 21).
  std::array<int64_t, 3> axis_pairs;
  double theta = 10000.0;
};

/// Builds the table for frames at `times` (one RoPE time a frame) of a grid of rows x cols tokens.
/// Frequency j of an axis with a pairs is theta^(-j/a) (docs/algorithms.md 2.8). Angles are formed
/// in fp64, then cast.
RopeTable rope_table(const std::vector<int64_t>& times,
                     int64_t rows,
                     int64_t cols,
                     const RopePairSet& pair_set,
                     const at::TensorOptions& options);

/// Rotates the adjacent channel pairs (2i, 2i+1) of channels [first_channel, first_channel + 2 *
/// num_pairs) of the last dim; other channels pass through. x: [B, L, N, K] with any strides and a
/// dense last dim. Returns a contiguous tensor. Arithmetic in the table's dtype, result in x's.
/// Differentiable in x.
at::Tensor apply_rope(const at::Tensor& x_BLNK, const RopeTable& table, int64_t first_channel = 0);
/// The definition, in plain ATen operations.
at::Tensor apply_rope_reference(const at::Tensor& x_BLNK,
                                const RopeTable& table,
                                int64_t first_channel = 0);

}  // namespace vmla::kernels
