#pragma once

#include "model/weights/local_weights.h"

#include <ATen/core/Tensor.h>

#include <vector>

namespace vmla::distributed {

/// Tensors of a unit that are computed with in one dtype, one after another in a flat buffer, which
/// is cut into equal parts over a group. Its end is padded so that it divides.
struct FlatBuffer {
  at::ScalarType dtype = at::kFloat;
  std::vector<size_t> tensors;   // indices in the unit's layout
  std::vector<int64_t> offsets;  // of each in the buffer
  int64_t numel = 0;             // without padding
  int64_t cut = 0;               // elements of a part
  int64_t local_offset = 0;      // of this rank's part in its flat part of the unit
};

/// How a unit is cut: one buffer when everything is computed with in the masters' dtype, else one
/// for the matrices and one for what stays exact, so that each can be gathered in its own dtype.
struct UnitCut {
  std::vector<FlatBuffer> buffers;
  model::FlatPart part;  // of `rank`: its parts of the buffers, one behind the other
};

UnitCut cut_unit(const std::vector<model::TensorSpec>& layout,
                 at::ScalarType compute,
                 at::ScalarType exact,
                 int64_t rank,
                 int64_t size);

/// The tensors in `whole` [size * cut], in the buffer's order: views.
std::vector<at::Tensor> buffer_views(const FlatBuffer& buffer,
                                     const std::vector<model::TensorSpec>& layout,
                                     const at::Tensor& whole);

}  // namespace vmla::distributed
