// Means, spreads and intervals against values worked out by hand and from tables.
#include <gtest/gtest.h>

#include <cmath>
#include <utility>
#include <vector>

#include "analysis/sweep/paired_statistics.h"

namespace vmla::analysis {
namespace {

SeedFigure value(double v) {
  return {.value = v};
}
const SeedFigure kNever = {.value = {}, .never = true};
const SeedFigure kMissing = {};

TEST(StudentBound, IsThatOfTheTables) {
  // Two-sided 95 % points, to the digits that tables give.
  const std::pair<int64_t, double> table[] = {{1, 12.706204736},
                                              {2, 4.302652730},
                                              {3, 3.182446305},
                                              {4, 2.776445105},
                                              {5, 2.570581836},
                                              {9, 2.262157163},
                                              {10, 2.228138852},
                                              {30, 2.042272456},
                                              {100, 1.983971519}};
  for (const auto& [freedom, bound] : table)
    EXPECT_NEAR(student_bound(0.95, freedom), bound, 1e-9 * bound) << freedom;
  // One degree is Cauchy's distribution, whose share is an arc tangent.
  EXPECT_NEAR(student_within(1, 1), 0.5, 1e-15);
  EXPECT_NEAR(student_bound(0.5, 1), 1, 1e-15);
  // Two degrees have a closed form too: t / sqrt(2 + t^2).
  EXPECT_NEAR(student_within(1.7, 2), 1.7 / std::sqrt(2 + 1.7 * 1.7), 1e-15);
}

TEST(SeedSpread, OfAFewSeeds) {
  const SeedSpread spread = spread_of({value(1), value(2), value(6), kMissing});
  EXPECT_EQ(spread.n, 3);
  EXPECT_EQ(spread.never, 0);
  EXPECT_DOUBLE_EQ(*spread.mean, 3);
  EXPECT_DOUBLE_EQ(*spread.sd, std::sqrt(7.0));  // (4 + 1 + 9) / 2
  EXPECT_DOUBLE_EQ(*spread.median, 2);
  EXPECT_DOUBLE_EQ(*spread_of({value(1), value(2)}).median, 1.5);
}

TEST(SeedSpread, OneSeedHasNoDeviationAndNoneNothing) {
  const SeedSpread one = spread_of({value(4)});
  EXPECT_DOUBLE_EQ(*one.mean, 4);
  EXPECT_FALSE(one.sd);
  const SeedSpread none = spread_of({kMissing});
  EXPECT_EQ(none.n, 0);
  EXPECT_FALSE(none.mean || none.median || none.sd);
}

TEST(SeedSpread, ASeedThatNeverArrivedIsInNoMean) {
  const SeedSpread spread = spread_of({value(100), value(300), kNever});
  EXPECT_EQ(spread.n, 2);
  EXPECT_EQ(spread.never, 1);
  EXPECT_FALSE(spread.mean || spread.sd);
  EXPECT_DOUBLE_EQ(*spread.median, 300);  // it counts as above all others
  EXPECT_FALSE(spread_of({value(100), kNever}).median);
  EXPECT_FALSE(spread_of({kNever}).median);
}

TEST(PairedDifference, HasTheIntervalOfStudent) {
  std::vector<std::pair<SeedFigure, SeedFigure>> pairs;
  for (int i = 1; i <= 5; ++i) pairs.emplace_back(value(10 * i + i), value(10 * i));
  const PairedDifference difference = paired_difference(pairs);
  EXPECT_EQ(difference.n, 5);
  EXPECT_DOUBLE_EQ(*difference.mean, 3);
  EXPECT_DOUBLE_EQ(*difference.sd, std::sqrt(2.5));
  // t(4) s / sqrt(n) = 2.776445105 sqrt(2.5 / 5)
  EXPECT_NEAR(*difference.low, 3 - 1.963243161, 1e-8);
  EXPECT_NEAR(*difference.high, 3 + 1.963243161, 1e-8);
  EXPECT_TRUE(difference.excludes_zero());
}

TEST(PairedDifference, OfPairsNotOfCells) {
  // Levels of the seeds differ by far more than the cells do: pairing takes that out.
  const PairedDifference difference =
      paired_difference({{value(1.1), value(1)}, {value(5.1), value(5)}, {value(9.1), value(9)}});
  EXPECT_NEAR(*difference.mean, 0.1, 1e-12);
  EXPECT_TRUE(difference.excludes_zero());
}

TEST(PairedDifference, LeavesOutWhatHasNoPair) {
  const PairedDifference difference = paired_difference(
      {{value(2), value(1)}, {kNever, value(1)}, {value(3), kMissing}, {value(5), value(2)}});
  EXPECT_EQ(difference.n, 2);
  EXPECT_EQ(difference.left_out, 2);
  EXPECT_DOUBLE_EQ(*difference.mean, 2);
  // t(1) sqrt(2) / sqrt(2)
  EXPECT_NEAR(*difference.low, 2 - 12.706204736, 1e-8);
  EXPECT_FALSE(difference.excludes_zero());
  const PairedDifference one = paired_difference({{value(2), value(1)}});
  EXPECT_DOUBLE_EQ(*one.mean, 1);
  EXPECT_FALSE(one.low || one.high);
}

}  // namespace
}  // namespace vmla::analysis
