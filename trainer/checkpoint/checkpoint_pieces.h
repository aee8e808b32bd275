#pragma once

#include "model/formats/checkpoint_ranges.h"
#include "model/formats/safetensors.h"
#include "model/weights/local_weights.h"
#include "model/weights/weights.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

/// Parts of named tensors: what one of several ranks holds of a role, writes into its file of a
/// checkpoint, and reads from files that any other number of ranks wrote.
namespace vmla::trainer {

/// Elements [first, first + data.numel()) of a tensor, in row-major order.
struct TensorPiece {
  model::Shape shape;  // of the whole tensor
  int64_t first = 0;
  at::Tensor data;

  bool is_whole() const;
};

using PieceMap = std::map<std::string, TensorPiece>;

/// Every tensor as one piece.
PieceMap whole_pieces(const model::TensorMap& tensors);

/// What a process holds of a unit, given its flat buffer [n] of it: views of `flat`, 1-D except
/// those that are a whole tensor; `prefix` stands before every name. What is written into the views
/// lands in `flat`.
PieceMap unit_pieces(const std::vector<model::TensorSpec>& layout,
                     const model::FlatPart& part,
                     const at::Tensor& flat,
                     const std::string& prefix = "");

/// What a process holds of a role's masters.
PieceMap held_pieces(model::TrainedWeights& weights);

/// The share of one of `count` ranks that hold the same pieces and write each a part of them: equal
/// runs of elements over all pieces, one after another.
PieceMap cut_pieces(const PieceMap& pieces, int64_t index, int64_t count);

/// Fills every piece of `pieces` from a checkpoint's role. UserError if the checkpoint lacks the
/// tensor, or has it in another shape.
void read_pieces(model::CheckpointRanges& checkpoint,
                 const std::string& role,
                 const PieceMap& pieces);

}  // namespace vmla::trainer
