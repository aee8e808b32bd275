#include "trainer/distributed/sharding/unit_cut.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace vmla::distributed {
namespace {

/// The pieces of the buffer's tensors that lie in its elements [begin, begin + part_numel).
void append_pieces(const FlatBuffer& buffer,
                   const std::vector<model::TensorSpec>& layout,
                   int64_t begin,
                   std::vector<model::FlatPiece>& pieces) {
  for (size_t i = 0; i < buffer.tensors.size(); ++i) {
    const int64_t offset = buffer.offsets[i], numel = layout[buffer.tensors[i]].numel;
    const int64_t first = std::max(begin, offset);
    const int64_t last = std::min(begin + buffer.part_numel, offset + numel);
    if (first >= last) continue;
    pieces.push_back({.tensor = buffer.tensors[i],
                      .first = first - offset,
                      .count = last - first,
                      .offset = buffer.local_offset + first - begin});
  }
}

}  // namespace

UnitCut cut_unit(const std::vector<model::TensorSpec>& layout,
                 const UnitDtypes& dtypes,
                 const RankOf& place) {
  UnitCut result;
  for (size_t i = 0; i < layout.size(); ++i) {
    const at::ScalarType dtype = model::compute_dtype_of(layout[i], dtypes.compute, dtypes.exact);
    auto buffer = std::ranges::find(result.buffers, dtype, &FlatBuffer::dtype);
    if (buffer == result.buffers.end()) {
      result.buffers.push_back({.dtype = dtype, .tensors = {}, .offsets = {}});
      buffer = std::prev(result.buffers.end());
    }
    buffer->tensors.push_back(i);
    buffer->offsets.push_back(buffer->numel);
    buffer->numel += layout[i].numel;
  }
  for (FlatBuffer& buffer : result.buffers) {
    buffer.part_numel = (buffer.numel + place.size - 1) / place.size;
    buffer.local_offset = result.part.numel;
    result.part.numel += buffer.part_numel;
    append_pieces(buffer, layout, place.rank * buffer.part_numel, result.part.pieces);
  }
  return result;
}

at::Tensor own_part(const at::Tensor& flat, const FlatBuffer& buffer) {
  return flat.narrow(0, buffer.local_offset, buffer.part_numel);
}

std::vector<at::Tensor> unit_views(const UnitCut& cut,
                                   const std::vector<model::TensorSpec>& layout,
                                   const std::vector<at::Tensor>& buffers) {
  std::vector<at::Tensor> views(layout.size());
  for (size_t b = 0; b < cut.buffers.size(); ++b) {
    const FlatBuffer& buffer = cut.buffers[b];
    for (size_t i = 0; i < buffer.tensors.size(); ++i) {
      const model::TensorSpec& spec = layout[buffer.tensors[i]];
      views[buffer.tensors[i]] =
          buffers[b].narrow(0, buffer.offsets[i], spec.numel).view(spec.shape);
    }
  }
  return views;
}

}  // namespace vmla::distributed
