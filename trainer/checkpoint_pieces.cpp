#include "trainer/checkpoint_pieces.h"

#include "model/io/error.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

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

PieceMap whole_pieces(const model::TensorMap& tensors) {
  PieceMap pieces;
  for (const auto& [name, tensor] : tensors)
    pieces[name] = {.shape = tensor.sizes().vec(), .first = 0, .data = tensor};
  return pieces;
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

void copy_pieces(const PieceMap& into, const PieceMap& from, const std::string& source) {
  const at::NoGradGuard no_grad;
  for (const auto& [name, piece] : into) {
    const auto found = from.find(name);
    if (found == from.end()) fail_run(source, " lacks ", name);
    const TensorPiece& given = found->second;
    const int64_t skipped = piece.first - given.first, count = piece.data.numel();
    if (given.shape != piece.shape || skipped < 0 || skipped + count > given.data.numel()) {
      fail_run(source,
               " does not hold elements ",
               piece.first,
               " to ",
               piece.first + count - 1,
               " of ",
               name,
               " ",
               at::IntArrayRef(piece.shape));
    }
    piece.data.copy_(given.data.reshape({-1}).narrow(0, skipped, count).view(piece.data.sizes()));
  }
}

void read_pieces(model::CheckpointRanges& checkpoint,
                 const std::string& role,
                 const PieceMap& pieces) {
  for (const auto& [name, piece] : pieces) {
    const io::ManifestTensor& stored = checkpoint.tensor(role, name);
    if (stored.shape != piece.shape) {
      fail_user(checkpoint.folder().path.string(),
                ": tensor ",
                name,
                " of ",
                role,
                " has shape ",
                at::IntArrayRef(stored.shape),
                "; this model's is ",
                at::IntArrayRef(piece.shape));
    }
    checkpoint.read(role, name, piece.first, piece.data.view({-1}));
  }
}

}  // namespace vmla::trainer
