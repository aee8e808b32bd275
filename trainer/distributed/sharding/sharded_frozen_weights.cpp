#include "trainer/distributed/sharding/sharded_frozen_weights.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "model/io/error.h"

namespace vmla::distributed {
namespace {

/// The buffer in which this rank holds the piece: buffers lie one behind the other in its part.
size_t buffer_of(const model::FlatPiece& piece, const std::vector<FlatBuffer>& buffers) {
  size_t b = buffers.size() - 1;
  while (buffers[b].local_offset > piece.offset) --b;
  return b;
}

/// This rank's part of each buffer of a unit, read from the whole tensors; padding is zero.
std::vector<at::Tensor> read_parts(const GatheredUnits::Unit& unit,
                                   const std::map<std::string, at::Tensor>& tensors,
                                   model::HomeBuffers& home) {
  const std::vector<FlatBuffer>& buffers = unit.cut.buffers;
  std::vector<at::Tensor> parts;
  for (const FlatBuffer& buffer : buffers)
    parts.push_back(home.zeros(buffer.part_numel, buffer.dtype));
  for (const model::FlatPiece& piece : unit.cut.part.pieces) {
    const size_t b = buffer_of(piece, buffers);
    const at::Tensor& whole = tensors.at(unit.layout[piece.tensor].name);
    parts[b]
        .narrow(0, piece.offset - buffers[b].local_offset, piece.count)
        .copy_(whole.reshape({-1}).narrow(0, piece.first, piece.count));
  }
  return parts;
}

}  // namespace

ShardedFrozenWeights::ShardedFrozenWeights(const Setup& setup)
    : allow_hold_(setup.allow_hold),
      home_(setup.home),
      gathered_(
          setup.shard,
          cut_units(
              setup.config,
              {.compute = setup.compute_dtype, .exact = model::exact_dtype(setup.compute_dtype)},
              setup.shard),
          [this](int64_t unit, const FlatBuffer& buffer) {
            const auto& buffers = gathered_.unit(unit).cut.buffers;
            return brought(parts_.at(unit)[static_cast<size_t>(&buffer - buffers.data())], home_);
          },
          /*keep=*/false) {
  const at::NoGradGuard no_grad;
  model::check_weights(setup.config, setup.tensors, setup.source);
  model::HomeBuffers buffers(home_, formatted("weights of {}", setup.source));
  for (const int64_t unit : model::all_units(setup.config))
    parts_[unit] = read_parts(gathered_.unit(unit), setup.tensors, buffers);
}

ShardedFrozenWeights::~ShardedFrozenWeights() {
  finish_bringing(home_);
}

void ShardedFrozenWeights::hold() {
  if (allow_hold_) gathered_.hold();
}

void ShardedFrozenWeights::unhold() {
  if (allow_hold_) gathered_.unhold();
}

void ShardedFrozenWeights::add_gradients(int64_t unit, const std::vector<at::Tensor>&) {
  TORCH_CHECK(false, "frozen weights take no gradient, unit: ", unit);
}

}  // namespace vmla::distributed
