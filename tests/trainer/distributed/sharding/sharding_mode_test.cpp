#include "trainer/distributed/sharding/sharding_mode.h"

#include "model/io/error.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace vmla::distributed {
namespace {

TEST(ShardingMode, IsFoundByItsName) {
  std::set<std::string_view> names;
  for (const ShardingMode& mode : sharding_modes()) {
    EXPECT_EQ(&sharding_mode(mode.name), &mode);
    EXPECT_TRUE(names.insert(mode.name).second) << mode.name << " is there twice";
  }
}

TEST(ShardingMode, AnUnknownNameIsAnErrorThatListsTheNames) {
  try {
    sharding_mode("zero3");
    FAIL() << "no error";
  } catch (const UserError& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("'zero3'"), std::string::npos) << text;
    for (const ShardingMode& mode : sharding_modes())
      EXPECT_NE(text.find(mode.name), std::string::npos) << text;
  }
}

TEST(ShardingMode, WhatNeedsPartsIsSaidOnlyOfModesThatHaveThem) {
  for (const ShardingMode& mode : sharding_modes()) {
    EXPECT_EQ(mode.cuts_optimizer, mode.gradients != GradientCut::kNever) << mode.name;
    EXPECT_TRUE(mode.cuts_optimizer || !mode.cuts_used_weights) << mode.name;
    EXPECT_TRUE(mode.cuts_optimizer || !mode.within_groups) << mode.name;
  }
}

TEST(ShardingMode, TheMostCutOneCutsEverythingOverAllRanks) {
  EXPECT_TRUE(most_cut_mode().cuts_used_weights);
  EXPECT_FALSE(most_cut_mode().within_groups);
}

TEST(ShardingMode, TheHelpNamesEveryModeAndWhatItCuts) {
  const std::string help = sharding_help();
  for (const ShardingMode& mode : sharding_modes()) {
    const std::string entry = std::string(mode.name) + " (" + std::string(mode.summary) + ")";
    EXPECT_NE(help.find(entry), std::string::npos) << help;
  }
}

}  // namespace
}  // namespace vmla::distributed
