#include "launch/bench/bench_page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace vmla::launch::bench {
namespace {

using testing::HasSubstr;
using testing::Not;

Page page_of(const Row& row) {
  return {
      .program = "vmla 1.2",
      .benchmark = "step",
      .subject = "a small stage",
      .device = "cpu",
      .processor = "a processor",
      .precision = "fp32",
      .threads = 2,
      .machine = {.gemm_before = 90e9, .gemm_after = 110e9, .copy_before = 9e9, .copy_after = 11e9},
      .rows = {row}};
}

Row step() {
  return {.name = "step",
          .runs = {{.wall = 0.3, .processor = 0.5},
                   {.wall = 0.1, .processor = 0.1},
                   {.wall = 0.2, .processor = 0.3}},
          .flops = 4e9,
          .bytes = 1e9,
          .figures = {{"seconds_forward", 0.05}}};
}

TEST(BenchPage, SpreadHasTheMedianOfAnyNumberOfRuns) {
  EXPECT_EQ(spread_of({7}).median, 7);
  EXPECT_EQ(spread_of({4, 1}).median, 2.5);
  const Spread three = spread_of({3, 10, 2});
  EXPECT_EQ(three.median, 3);
  EXPECT_EQ(three.least, 2);
  EXPECT_EQ(three.most, 10);
  EXPECT_EQ(three.mean, 5);
}

TEST(BenchPage, RatesAreOfTheMeanAndSharesOfTheMachinesMean) {
  const auto row = nlohmann::json::parse(page_json(page_of(step()))).at("rows").at(0);
  EXPECT_DOUBLE_EQ(row.at("seconds").at("median"), 0.2);
  EXPECT_DOUBLE_EQ(row.at("seconds").at("runs").at(0), 0.3);
  EXPECT_DOUBLE_EQ(row.at("processor_seconds").at("median"), 0.3);
  EXPECT_DOUBLE_EQ(row.at("flops_per_second"), 4e9 / 0.2);
  EXPECT_DOUBLE_EQ(row.at("mfu"), 4e9 / 0.2 / 100e9);
  EXPECT_DOUBLE_EQ(row.at("bytes_per_second"), 1e9 / 0.2);
  EXPECT_DOUBLE_EQ(row.at("share_of_copy"), 1e9 / 0.2 / 10e9);
  EXPECT_DOUBLE_EQ(row.at("figures").at("seconds_forward"), 0.05);
}

TEST(BenchPage, WhatWasNotCountedIsLeftOut) {
  Row row = step();
  row.flops = row.bytes = 0;
  const auto json = nlohmann::json::parse(page_json(page_of(row))).at("rows").at(0);
  for (const char* key : {"flops", "mfu", "bytes", "share_of_copy"})
    EXPECT_FALSE(json.contains(key)) << key;
  EXPECT_THAT(page_text(page_of(row)), Not(HasSubstr("mfu")));
}

TEST(BenchPage, TextSaysMedianRangeAndShares) {
  const std::string text = page_text(page_of(step()));
  EXPECT_THAT(text,
              HasSubstr("step: 200.00 ms (100.00 ms to 300.00 ms, 3 runs), processor 300.00 ms"));
  EXPECT_THAT(text, HasSubstr("20 GFLOP/s, 20.0 % of the product's rate (mfu)"));
  EXPECT_THAT(text, HasSubstr("5 GB/s, 50.0 % of the copy's rate"));
  EXPECT_THAT(text, HasSubstr("product 90 GFLOP/s and 110 GFLOP/s, copy 9 GB/s and 11 GB/s"));
}

}  // namespace
}  // namespace vmla::launch::bench
