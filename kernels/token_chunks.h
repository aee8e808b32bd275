#pragma once

#include <cstdint>

namespace vmla::kernels {

/// Into how many chunks rows (tokens of a frame) are cut to be summed: sums of chunks first, then
/// the sum over chunks. The number depends on the rows alone, so that a sum has one order whatever
/// the number of threads or multiprocessors.
constexpr int64_t token_chunks(int64_t rows) {
  constexpr int64_t kLeastRows = 64;
  constexpr int64_t kMostChunks = 64;
  const int64_t chunks = rows / kLeastRows;
  return chunks < 1 ? 1 : chunks > kMostChunks ? kMostChunks : chunks;
}

}  // namespace vmla::kernels
