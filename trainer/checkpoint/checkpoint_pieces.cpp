#include "trainer/checkpoint/checkpoint_pieces.h"

#include "model/io/error.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace vmla::trainer {
namespace {

int64_t numel_of(const model::Shape& shape) {
  int64_t elements = 1;
  for (const int64_t size : shape) elements *= size;
  return elements;
}

}  // namespace

bool TensorPiece::is_whole() const {
  return data.numel() == numel_of(shape);
}

PieceMap unit_pieces(const std::vector<model::TensorSpec>& layout,
                     const model::FlatPart& part,
                     const at::Tensor& flat,
                     const std::string& prefix) {
  PieceMap pieces;
  for (const model::FlatPiece& run : part.pieces) {
    if (run.count == 0) continue;
    const model::TensorSpec& spec = layout.at(run.tensor);
    at::Tensor data = flat.narrow(0, run.offset, run.count);
    if (run.count == spec.numel) data = data.view(spec.shape);
    const bool is_new =
        pieces.emplace(prefix + spec.name, TensorPiece{spec.shape, run.first, data}).second;
    TORCH_CHECK(is_new, "two pieces of a tensor on one rank: ", spec.name);
  }
  return pieces;
}

PieceMap held_pieces(model::TrainedWeights& weights) {
  PieceMap pieces;
  for (const int64_t unit : weights.units())
    pieces.merge(unit_pieces(weights.layout(unit), weights.part(unit), weights.master(unit)));
  return pieces;
}

PieceMap cut_pieces(const PieceMap& pieces, int64_t index, int64_t count) {
  if (count == 1) return pieces;
  int64_t elements = 0;
  for (const auto& [name, piece] : pieces) elements += piece.data.numel();
  const int64_t each = (elements + count - 1) / count;
  int64_t place = 0;  // of the piece's first element among all
  PieceMap share;
  for (const auto& [name, piece] : pieces) {
    const int64_t numel = piece.data.numel();
    const int64_t begin = std::max<int64_t>(0, index * each - place);
    const int64_t end = std::min(numel, (index + 1) * each - place);
    place += numel;
    if (begin >= end) continue;
    share[name] = piece;
    if (end - begin == numel) continue;
    share[name].first += begin;
    share[name].data = piece.data.view({-1}).narrow(0, begin, end - begin);
  }
  return share;
}

void read_pieces(model::CheckpointRanges& checkpoint,
                 const std::string& role,
                 const PieceMap& pieces) {
  for (const auto& [name, piece] : pieces) {
    const io::ManifestTensor& stored = checkpoint.tensor(role, name);
    if (stored.shape != piece.shape) {
      fail_user("{}: tensor {} of {} has shape {}; this model's is {}",
                checkpoint.folder().path.string(),
                name,
                role,
                at::IntArrayRef(stored.shape),
                at::IntArrayRef(piece.shape));
    }
    checkpoint.read(role, name, piece.first, piece.data.view({-1}));
  }
}

}  // namespace vmla::trainer
