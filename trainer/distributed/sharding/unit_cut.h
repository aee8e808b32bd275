#pragma once

#include "model/weights/local_weights.h"

#include <ATen/core/Tensor.h>

#include <vector>

/// How the tensors of a unit (a transformer block, or the root) are laid out in flat buffers that
/// divide over a group of ranks.
namespace vmla::distributed {

/// The dtypes that a unit's tensors are gathered in.
struct UnitDtypes {
  at::ScalarType compute;  // of matrices
  at::ScalarType exact;    // of the rest: that of the masters
};

/// One rank of the group that buffers are cut over.
struct RankOf {
  int64_t rank = 0;
  int64_t size = 1;
};

/// Tensors of a unit that are gathered in one dtype, one after another in a flat buffer. It is cut
/// into equal parts, one a rank; padding at its end makes it divide.
struct FlatBuffer {
  at::ScalarType dtype = at::kFloat;
  std::vector<size_t> tensors;   // indices in the unit's layout
  std::vector<int64_t> offsets;  // of each of them in the buffer, in elements
  int64_t numel = 0;             // of all of them, without padding
  int64_t part_numel = 0;        // of one rank's part, with padding
  int64_t local_offset = 0;      // where this rank's part of the buffer begins in its FlatPart
};

/// A unit as one rank sees it.
struct UnitCut {
  /// One when everything is computed with in the masters' dtype; else one for the matrices with
  /// their biases and one for what stays exact, so that each is gathered in its own dtype.
  std::vector<FlatBuffer> buffers;
  /// This rank's parts of the buffers, one behind the other: what it holds of masters, gradients
  /// and optimizer state.
  model::FlatPart part;
};

UnitCut cut_unit(const std::vector<model::TensorSpec>& layout,
                 const UnitDtypes& dtypes,
                 const RankOf& place);

/// This rank's part of `buffer`: a view [part_numel] of `flat` [cut.part.numel], its flat tensor of
/// the unit.
at::Tensor own_part(const at::Tensor& flat, const FlatBuffer& buffer);

/// The unit's tensors in the layout's order: views of its whole buffers, each
/// [size * part_numel].
std::vector<at::Tensor> unit_views(const UnitCut& cut,
                                   const std::vector<model::TensorSpec>& layout,
                                   const std::vector<at::Tensor>& buffers);

}  // namespace vmla::distributed
