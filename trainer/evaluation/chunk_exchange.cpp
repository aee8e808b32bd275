#include "trainer/evaluation/chunk_exchange.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace vmla::trainer {
namespace {

/// [world, ...]: what each rank has, which is of one shape and dtype.
at::Tensor gathered(const distributed::Mesh& mesh, const at::Tensor& mine) {
  std::vector<int64_t> sizes = mine.sizes().vec();
  sizes.insert(sizes.begin(), mesh.shape().world);
  const at::Tensor all = at::empty(sizes, mine.options());
  mesh.host().all_gather(all, mine.contiguous()).wait();
  return all;
}

}  // namespace

ChunkExchange::ChunkExchange(const distributed::Mesh& mesh,
                             size_t prompts,
                             size_t batch,
                             const Emit& emit)
    : mesh_(mesh), prompts_(prompts), batch_(batch), emit_(emit) {}

size_t ChunkExchange::size_of(int64_t item) const {
  return std::min(batch_, prompts_ - static_cast<size_t>(item) * batch_);
}

void ChunkExchange::take(const SampledChunk& chunk) {
  const size_t mine = size_of(round_.mine);
  const size_t place = chunk.prompt - static_cast<size_t>(round_.mine) * batch_;
  exchange(chunk, place);
  if (place + 1 < mine) return;
  // Other ranks have more prompts than this one (the first item is the largest): they are not left
  // alone, and what this rank gives is passed over.
  for (size_t further = mine; further < size_of(round_.first); ++further) exchange(chunk, further);
}

void ChunkExchange::exchange(const SampledChunk& chunk, size_t place) {
  const at::Tensor latents = gathered(mesh_, chunk.latents_FCHW);
  const at::Tensor pixels = gathered(mesh_, chunk.pixels_F3HW);
  const at::Tensor figures = gathered(mesh_,
                                      at::tensor({chunk.seconds,
                                                  chunk.cache_seconds,
                                                  chunk.since_start,
                                                  static_cast<double>(chunk.cache_bytes)},
                                                 at::kDouble));
  if (!mesh_.is_lead()) return;
  const auto of_ranks = figures.accessor<double, 2>();
  for (int64_t i = 0; i < round_.items; ++i) {
    const int64_t item = round_.first + i, rank = i * mesh_.shape().sequence;
    if (place >= size_of(item)) continue;
    emit_({.prompt = static_cast<size_t>(item) * batch_ + place,
           .first_frame = chunk.first_frame,
           .latents_FCHW = latents[rank],
           .pixels_F3HW = pixels[rank],
           .seconds = of_ranks[rank][0],
           .cache_seconds = of_ranks[rank][1],
           .since_start = of_ranks[rank][2],
           .cache_bytes = static_cast<int64_t>(of_ranks[rank][3])});
  }
}

}  // namespace vmla::trainer
