#include "trainer/distributed/sharding/unit_cut.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace vmla::distributed {
namespace {

/// The pieces of the buffer's tensors that lie in elements [begin, begin + cut).
void append_pieces(const FlatBuffer& buffer,
                   const std::vector<model::TensorSpec>& layout,
                   int64_t begin,
                   std::vector<model::FlatPiece>& pieces) {
  for (size_t i = 0; i < buffer.tensors.size(); ++i) {
    const int64_t offset = buffer.offsets[i], numel = layout[buffer.tensors[i]].numel;
    const int64_t first = std::max(begin, offset);
    const int64_t last = std::min(begin + buffer.cut, offset + numel);
    if (first >= last) continue;
    pieces.push_back({.tensor = buffer.tensors[i],
                      .first = first - offset,
                      .count = last - first,
                      .offset = buffer.local_offset + first - begin});
  }
}

}  // namespace

UnitCut cut_unit(const std::vector<model::TensorSpec>& layout,
                 at::ScalarType compute,
                 at::ScalarType exact,
                 int64_t rank,
                 int64_t size) {
  UnitCut result;
  for (size_t i = 0; i < layout.size(); ++i) {
    const at::ScalarType dtype = model::compute_dtype_of(layout[i], compute, exact);
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
    buffer.cut = (buffer.numel + size - 1) / size;
    buffer.local_offset = result.part.numel;
    result.part.numel += buffer.cut;
    append_pieces(buffer, layout, rank * buffer.cut, result.part.pieces);
  }
  return result;
}

std::vector<at::Tensor> buffer_views(const FlatBuffer& buffer,
                                     const std::vector<model::TensorSpec>& layout,
                                     const at::Tensor& whole) {
  std::vector<at::Tensor> views;
  for (size_t i = 0; i < buffer.tensors.size(); ++i) {
    const model::TensorSpec& spec = layout[buffer.tensors[i]];
    views.push_back(whole.narrow(0, buffer.offsets[i], spec.numel).view(spec.shape));
  }
  return views;
}

}  // namespace vmla::distributed
