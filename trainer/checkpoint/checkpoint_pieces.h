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

/// What a process holds of a unit, given its flat buffer [part.numel] of it: views of `flat`,
/// through which it can be filled. A whole tensor has its shape, any other piece is 1-D. `prefix`
/// stands before every name.
PieceMap unit_pieces(const std::vector<model::TensorSpec>& layout,
                     const model::FlatPart& part,
                     const at::Tensor& flat,
                     const std::string& prefix = "");

/// What a process holds of a role's master weights.
PieceMap held_pieces(model::TrainedWeights& weights);

/// What rank `index` of `count` that hold the same pieces saves of them: with all pieces laid one
/// after another, an equal run of elements, the last runs being shorter or empty.
PieceMap cut_pieces(const PieceMap& pieces, int64_t index, int64_t count);

/// Fills every piece of `pieces` from a checkpoint's role. UserError if the checkpoint lacks the
/// tensor, or has it in another shape.
void read_pieces(model::CheckpointRanges& checkpoint,
                 const std::string& role,
                 const PieceMap& pieces);

}  // namespace vmla::trainer
