#include "trainer/evaluation/rank_rounds.h"

#include <algorithm>

namespace vmla::trainer {

std::vector<RankRound> rank_rounds(const distributed::Mesh& mesh, int64_t items) {
  const int64_t data_ranks = mesh.shape().data_ranks(), here = mesh.data_index();
  std::vector<RankRound> rounds;
  for (int64_t first = 0; first < items; first += data_ranks) {
    const int64_t count = std::min(data_ranks, items - first);
    rounds.push_back({.first = first,
                      .items = count,
                      .mine = here < count ? first + here : first,
                      .counts = here < count && mesh.sequence().rank() == 0});
  }
  return rounds;
}

}  // namespace vmla::trainer
