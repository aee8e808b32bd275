#include "model/io/format.h"

#include <gtest/gtest.h>

#include <limits>

#include "model/io/error.h"

namespace vmla {
namespace {

// A type that only operator<< can print, as tensor shapes are.
struct Pair {
  int first, second;
};
std::ostream& operator<<(std::ostream& out, const Pair& pair) {
  return out << '[' << pair.first << ", " << pair.second << ']';
}

TEST(Format, ReplacesFieldsInOrder) {
  const std::string file = "clips.h5";
  EXPECT_EQ(formatted("{}: {} of {} clips", file, 3, size_t{7}), "clips.h5: 3 of 7 clips");
  EXPECT_EQ(formatted("{}{}{}", 'a', "b", std::string_view("c")), "abc");
  EXPECT_EQ(formatted("{} {}", true, Pair{1, 2}), "true [1, 2]");
}

TEST(Format, BracesAreDoubled) {
  EXPECT_EQ(formatted("{{{}}} {{}}", 5), "{5} {}");
}

TEST(Format, WholeNumbersKeepAllDigits) {
  EXPECT_EQ(
      formatted("{} {}", std::numeric_limits<int64_t>::min(), std::numeric_limits<uint64_t>::max()),
      "-9223372036854775808 18446744073709551615");
  EXPECT_EQ(formatted("{:05} {:x} {:08x}", 42, 255u, 0xabcu), "00042 ff 00000abc");
}

TEST(Format, FloatingPointAsAsked) {
  EXPECT_EQ(formatted("{:g} {:.3f} {:.2e} {:g}", 1.0 / 3, 2.0, 12345.0, 1e-6f),
            "0.333333 2.000 1.23e+04 1e-06");
  EXPECT_EQ(formatted("{:g} {:g}", std::numeric_limits<double>::infinity(), 5.0), "inf 5");
  // The longest text that a field can have is printed whole.
  EXPECT_EQ(formatted("{:f}", std::numeric_limits<double>::max()).size(), 309 + 1 + 6);
}

TEST(Format, TemplatesAreComparedWithTheirValues) {
  using format_detail::fits;
  using format_detail::Kind;
  EXPECT_TRUE(fits("", Kind::kText));
  EXPECT_FALSE(fits(".3f", Kind::kText));
  EXPECT_TRUE(fits("06", Kind::kInteger));
  EXPECT_FALSE(fits("g", Kind::kInteger));
  EXPECT_FALSE(fits("6", Kind::kInteger));
  EXPECT_TRUE(fits(".3f", Kind::kFloating));
  EXPECT_FALSE(fits("", Kind::kFloating));
  EXPECT_FALSE(fits(".f", Kind::kFloating));
}

TEST(Format, ErrorsTakeATemplateOrATextAsItStands) {
  const auto message = [](const auto& call) {
    try {
      call();
    } catch (const std::runtime_error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(message([] { fail_user("{}: {} is not a size", "--size", "x"); }),
            "--size: x is not a size");
  EXPECT_EQ(message([] { fail_run("a literal {} as it stands"); }), "a literal {} as it stands");
}

// A file's name or a peer's text may hold anything; the terminal shows it and does not obey it.
TEST(Format, ErrorsAreOneLineWhateverNamesTheyHold) {
  const auto shown = [](const auto& error) { return std::string(error.what()); };
  EXPECT_EQ(shown(UserError("\x1b[2J\nvmla: done")), "\\x1b[2J\\x0avmla: done");
  EXPECT_EQ(shown(RunError("no UTF-8: \xff")), "no UTF-8: \\xff");
  EXPECT_EQ(shown(UserError("Größe 3 × 4")), "Größe 3 × 4");
}

}  // namespace
}  // namespace vmla
