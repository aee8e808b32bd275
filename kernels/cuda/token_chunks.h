#pragma once

#include <cstdint>

namespace vmla::kernels::cuda {

/// Into how many parts the tokens of a frame are cut to be summed: a number that depends on them
/// alone, so that sums have one order on every device.
constexpr int64_t token_chunks(int64_t tokens) {
  constexpr int64_t kLeastTokens = 64;
  constexpr int64_t kMostChunks = 64;
  const int64_t chunks = tokens / kLeastTokens;
  return chunks < 1 ? 1 : chunks > kMostChunks ? kMostChunks : chunks;
}

}  // namespace vmla::kernels::cuda
