// Each kind of option: which values it takes and which it refuses.
#include "launch/options/option_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "launch/options/parse_number.h"

namespace vmla::launch {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(ParseNumber, TakesAllOfTheText) {
  EXPECT_EQ(parse_number<int64_t>("-12"), -12);
  EXPECT_EQ(parse_number<double>("1.5e3"), 1500.0);
  for (const char* text : {"", " 1", "1 ", "1x", "x", "+1", "9223372036854775808"}) {
    EXPECT_FALSE(parse_number<int64_t>(text)) << text;
  }
  EXPECT_FALSE(parse_number<double>("1.5.2"));
}

/// Parses `words` with the options that `define` declares; returns what was wrong, or "".
std::string problem(const std::function<void(OptionSet&)>& define,
                    const std::vector<std::string>& words) {
  CLI::App app;
  OptionSet options(app);
  define(options);
  try {
    app.parse(std::vector<std::string>(words.rbegin(), words.rend()));
    return "";
  } catch (const CLI::ParseError& error) {
    return error.what();
  }
}

TEST(OptionSet, IntegersAreCheckedAgainstTheirLeast) {
  int64_t value = 5;
  const auto any = [&](OptionSet& options) { options.integer("--n", value, ""); };
  const auto from_0 = [&](OptionSet& options) { options.integer_from_0("--n", value, ""); };
  const auto from_1 = [&](OptionSet& options) { options.integer_from_1("--n", value, ""); };
  EXPECT_EQ(problem(any, {}), "");
  EXPECT_EQ(value, 5);
  EXPECT_EQ(problem(any, {"--n", "-9223372036854775808"}), "");
  EXPECT_EQ(value, std::numeric_limits<int64_t>::min());
  EXPECT_EQ(problem(from_0, {"--n=0"}), "");
  EXPECT_EQ(value, 0);
  EXPECT_THAT(problem(any, {"--n", "9223372036854775808"}), HasSubstr("integer of 64 bits"));
  EXPECT_THAT(problem(any, {"--n", "1.0"}), HasSubstr("1.0 is not an integer"));
  EXPECT_THAT(problem(from_0, {"--n", "-1"}), HasSubstr("-1 is not an integer of at least 0"));
  EXPECT_THAT(problem(from_1, {"--n", "0"}), HasSubstr("0 is not an integer of at least 1"));
}

TEST(OptionSet, NumbersAreFinite) {
  double value = 5;
  const auto from_0 = [&](OptionSet& options) { options.number_from_0("--x", value, ""); };
  const auto above_0 = [&](OptionSet& options) { options.number_above_0("--x", value, ""); };
  const auto time = [&](OptionSet& options) { options.seconds_above(1, "--x", value, ""); };
  EXPECT_EQ(problem(from_0, {"--x", "0"}), "");
  EXPECT_EQ(value, 0);
  EXPECT_EQ(problem(above_0, {"--x", "2.5"}), "");
  EXPECT_EQ(value, 2.5);
  EXPECT_EQ(problem(time, {"--x", "1.5"}), "");
  for (const char* text : {"inf", "nan", "-1", "x", ""}) {
    EXPECT_THAT(problem(from_0, {std::string("--x=") + text}), HasSubstr("--x")) << text;
  }
  EXPECT_THAT(problem(above_0, {"--x", "0"}), HasSubstr("0 is not a number above 0"));
  EXPECT_THAT(problem(time, {"--x", "1"}), HasSubstr("1 is not a number of seconds above 1"));
  EXPECT_THAT(problem(time, {"--x", "1e9"}), HasSubstr("seconds above 1"));
}

TEST(OptionSet, AnOptionalStaysEmptyWithoutItsOption) {
  std::optional<int64_t> number;
  std::optional<std::string> text;
  const auto define = [&](OptionSet& options) {
    options.integer("--n", number, "");
    options.text("--text", text, "TEXT", "");
  };
  EXPECT_EQ(problem(define, {}), "");
  EXPECT_FALSE(number || text);
  EXPECT_EQ(problem(define, {"--n", "0", "--text", ""}), "");
  EXPECT_EQ(number, 0);
  EXPECT_EQ(text, "");
}

TEST(OptionSet, SeveralValues) {
  std::vector<std::string> files, keys;
  std::vector<double> numbers;
  const auto define = [&](OptionSet& options) {
    options.texts("files", files, "FILE...", "");
    options.repeated_text("--set", keys, "KEY=VALUE", "");
    options.numbers_from_0("--list", numbers, "");
  };
  EXPECT_EQ(problem(define, {"--set", "a=1", "f", "--set", "b=2", "g", "--list", "2,0.5"}), "");
  EXPECT_THAT(files, ElementsAre("f", "g"));
  EXPECT_THAT(keys, ElementsAre("a=1", "b=2"));
  EXPECT_THAT(numbers, ElementsAre(2, 0.5));
  EXPECT_THAT(problem(define, {"--list", "2,-1"}), HasSubstr("-1 is not a number from 0"));
}

TEST(OptionSet, ChoicesAndRequiredOptions) {
  std::string value = "b";
  bool flag = false;
  const auto define = [&](OptionSet& options) {
    options.choice("--one", value, {"a", "b"}, "").required();
    options.flag("--flag", flag, "");
  };
  EXPECT_EQ(problem(define, {"--one", "a", "--flag"}), "");
  EXPECT_EQ(value, "a");
  EXPECT_TRUE(flag);
  EXPECT_THAT(problem(define, {"--one", "c"}), HasSubstr("c not in {a,b}"));
  EXPECT_THAT(problem(define, {}), HasSubstr("--one is required"));
}

}  // namespace
}  // namespace vmla::launch
