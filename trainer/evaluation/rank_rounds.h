#pragma once

#include <cstdint>
#include <vector>

#include "trainer/distributed/collectives/mesh.h"

namespace vmla::trainer {

/// Items that the ranks work on at the same time, one each: data rank d has item first + d, while
/// there are so many. A rank for which there is none does the round's first once more, and nothing
/// comes of it: all ranks gather weights that are spread over them, and ask each other before each
/// pass whether to stop, so none may run fewer passes than the others.
struct RankRound {
  int64_t first;
  int64_t items;  // at most one for each data rank
  int64_t mine;   // of this rank
  bool counts;    // this rank answers for `mine`: of a sequence group its first rank alone
};

/// Divides `items` pieces of work, batches of clips or of prompts, over the ranks of a job. All
/// ranks get the same number of rounds, and an item is the same whoever works on it.
std::vector<RankRound> rank_rounds(const distributed::Mesh& mesh, int64_t items);

}  // namespace vmla::trainer
