#pragma once

#include <ATen/core/Tensor.h>

namespace vmla::model {

/// How the matrices of a network lie in memory; their sizes are the same.
enum class MatrixOrder {
  kAsGiven,    // row after row, as in files and in what is trained
  kForPasses,  // as laid_for_passes() lays them, which takes memory of its own
};

/// `matrix` [N, K] as products with few tokens, such as a chunk's, read it fastest. On a CPU that
/// is column after column: MKL copies a part of every matrix into an order of its own, and for rows
/// that takes a tenth to four tenths of the product. Elsewhere, and in other types than fp32, it is
/// the order that it has.
at::Tensor laid_for_passes(const at::Tensor& matrix);

}  // namespace vmla::model
