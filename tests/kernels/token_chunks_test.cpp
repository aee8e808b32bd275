#include "kernels/token_chunks.h"

#include <gtest/gtest.h>

namespace vmla::kernels {
namespace {

TEST(TokenChunks, FewTokensAreOneChunk) {
  for (const int64_t tokens : {0, 1, 63, 64, 127}) EXPECT_EQ(token_chunks(tokens), 1) << tokens;
}

TEST(TokenChunks, ChunksHoldAtLeastSixtyFourTokensAndAreAtMostSixtyFour) {
  EXPECT_EQ(token_chunks(128), 2);
  EXPECT_EQ(token_chunks(1560), 24);
  EXPECT_EQ(token_chunks(32760), 64);
  EXPECT_EQ(token_chunks(int64_t{1} << 40), 64);
}

}  // namespace
}  // namespace vmla::kernels
