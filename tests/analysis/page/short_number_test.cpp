#include "analysis/page/short_number.h"

#include <gtest/gtest.h>

#include <cmath>

namespace vmla::analysis {
namespace {

TEST(ShortNumber, WritesNumbersForPeople) {
  EXPECT_EQ(short_number(0.0), "0");
  EXPECT_EQ(short_number(0.123456), "0.123");
  EXPECT_EQ(short_number(1234.5), "1234");
  EXPECT_EQ(short_number(27345), "27.3k");
  EXPECT_EQ(short_number(-4.2e9), "-4.2G");
  EXPECT_EQ(short_number(INFINITY), "–");
}

TEST(ShortNumber, WhatIsNotKnownIsADash) {
  EXPECT_EQ(short_number(std::optional<double>()), "–");
  EXPECT_EQ(percent(std::nullopt), "–");
  EXPECT_EQ(percent(NAN), "–");
  EXPECT_EQ(percent(0.875), "87.5 %");
}

}  // namespace
}  // namespace vmla::analysis
