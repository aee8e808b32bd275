#pragma once

#include "model/conversion/init_methods.h"
#include "model/conversion/low_rank.h"
#include "model/conversion/mla_from_dense.h"

#include <ATen/core/Tensor.h>

#include <map>
#include <string>

/// Inside of the conversion: what a method's source sees. mla_from_dense.h is the way in.
namespace vmla::model {

/// One layer to convert.
struct LayerToConvert {
  const ModelConfig& mla;
  const std::map<std::string, at::Tensor>& dense;  // all tensors of the dense model
  int64_t layer;
  uint64_t seed;

  /// "blocks.N.self_attn.", in front of the names below.
  std::string prefix() const;
};

/// Row indices of channels of all heads in a dense projection [N K, ...].
struct HeadRows {
  at::Tensor content;  // of the channels that are not rotated, ascending in each head
  at::Tensor rope;     // of those that are: 2p, 2p + 1 for the layer's rope pairs in their order
};
HeadRows head_rows(const ModelConfig& mla, int64_t layer);

/// Approximates a matrix by one of that rank.
using Factorise = LowRank (*)(const at::Tensor& matrix, int64_t rank);

/// A layer whose key/value and query projections `factorise` splits. Everything else follows from
/// the dense weights: scale constants for the norms that go, one rope key for all heads, biases
/// (docs/algorithms.md 5).
ConvertedLayer convert_by_factors(const LayerToConvert& from, Factorise factorise);

// convert_layer_NAME of each row of the table.
#define VMLA_INIT_METHOD_FUNCTION(identifier, ...) \
  ConvertedLayer convert_layer_##identifier(const LayerToConvert& from);
VMLA_INIT_METHODS(VMLA_INIT_METHOD_FUNCTION)
#undef VMLA_INIT_METHOD_FUNCTION

}  // namespace vmla::model
