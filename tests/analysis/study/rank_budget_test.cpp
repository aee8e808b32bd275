#include "analysis/study/rank_budget.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vmla::analysis {
namespace {

using testing::ElementsAre;

TEST(RankBudget, LargestSharesAreTakenFirst) {
  const std::vector<std::vector<double>> energies = {
      {0.9, 0.05, 0.03, 0.02}, {0.4, 0.3, 0.2, 0.1}, {0.26, 0.25, 0.25, 0.24}};
  EXPECT_THAT(spend_ranks(energies, 6, 1, 4), ElementsAre(1, 2, 3));
  // The third layer's limit leaves a rank for the second.
  EXPECT_THAT(spend_ranks(energies, 6, 1, 2), ElementsAre(2, 2, 2));
  // No more than there is.
  EXPECT_THAT(spend_ranks(energies, 20, 1, 9), ElementsAre(4, 4, 4));
  EXPECT_THAT(spend_ranks(energies, 6, 2, 4), ElementsAre(2, 2, 2));
}

}  // namespace
}  // namespace vmla::analysis
