#pragma once

#include "model/conversion/init_methods.h"
#include "model/conversion/layer_moments.h"
#include "model/conversion/low_rank.h"
#include "model/conversion/mla_from_dense.h"
#include "model/conversion/refine.h"
#include "model/conversion/rope_key.h"

#include <ATen/core/Tensor.h>

#include <map>
#include <optional>
#include <string>

/// Inside of the conversion: what a method's source sees. mla_from_dense.h is the way in.
namespace vmla::model {

/// What methods that convert the same layer one after another have in common, and compute once.
struct SharedFactors {
  std::optional<LowRank> plain_query, whitened_query;
};

/// One layer to convert.
struct LayerToConvert {
  const ModelConfig& mla;
  const std::map<std::string, at::Tensor>& dense;  // all tensors of the dense model
  int64_t layer;
  uint64_t seed;
  const LayerMoments* moments = nullptr;  // of the layer, for a method that calibrates
  SharedFactors* shared = nullptr;
  int64_t refine_steps = 0;

  /// "blocks.N.self_attn.", in front of the names below.
  std::string prefix() const;
};

/// Row indices of channels of all heads in a dense projection [N K, ...].
struct HeadRows {
  at::Tensor content;  // of the channels that are not rotated, ascending in each head
  at::Tensor rope;     // of those that are: 2p, 2p + 1 for the layer's rope pairs in their order
};
HeadRows head_rows(const ModelConfig& mla, int64_t layer);

/// A dense layer's projections in fp64, [N K, D] and [N K]. The gains of Wan's norms are multiplied
/// in; the norms' division by the rms is not: its typical values stand beside them.
struct DenseLayer {
  at::Tensor key, key_bias, query, query_bias, value;
  double key_rms, query_rms;
  HeadRows rows;
  at::Tensor joint;  // [N nope + N V, D]: content rows of `key`, then `value`, which is a view
};

/// For isotropic inputs, or those of the layer's moments where there are any.
DenseLayer dense_layer(const LayerToConvert& from);

/// The query's factors: SVD of the weights, or whitened by the queries' moment.
LowRank plain_query(const LayerToConvert& from, const DenseLayer& dense);
LowRank whitened_query(const LayerToConvert& from, const DenseLayer& dense);

/// What a method decides of a layer: approximations of `joint` and `query`, the rotary key, and
/// what its approximation of `joint` makes small.
struct LayerFactors {
  LowRank kv, q;
  SharedRopeKey rope;
  LowRankObjective objective = {};
};

/// The layer with these factors, those of keys and values refined. Everything else follows from the
/// dense weights: scale constants for the norms that go, places of rows, biases (docs/algorithms.md
/// 5).
ConvertedLayer assemble_layer(const LayerToConvert& from,
                              const DenseLayer& dense,
                              const LayerFactors& factors);

/// The dense layer's rotary rows as one key. With `calibrated`, for the inputs of the moments.
SharedRopeKey rope_key_of(const LayerToConvert& from,
                          const DenseLayer& dense,
                          HeadMix mix,
                          bool calibrated);

/// E[x xᵀ] of the inputs [D, D] out of that of (x, 1).
at::Tensor input_moment(const at::Tensor& with_one);

/// The error of the joint key and value rows on the keys' inputs, each kind divided by the typical
/// size of its outputs, so that a small error counts alike in both (docs/algorithms.md 5.7).
LowRankObjective balanced_objective(const LayerToConvert& from, const DenseLayer& dense);

/// The factors of `joint` with the least such error.
LowRank balanced_svd(const LayerToConvert& from,
                     const DenseLayer& dense,
                     const LowRankObjective& objective);

using ConvertLayer = ConvertedLayer (*)(const LayerToConvert& from);

/// The function of a method of the table.
ConvertLayer function_of(const InitMethod& method);

// convert_layer_NAME of each row of the table.
#define VMLA_INIT_METHOD_FUNCTION(identifier, ...) \
  ConvertedLayer convert_layer_##identifier(const LayerToConvert& from);
VMLA_INIT_METHODS(VMLA_INIT_METHOD_FUNCTION)
#undef VMLA_INIT_METHOD_FUNCTION

}  // namespace vmla::model
