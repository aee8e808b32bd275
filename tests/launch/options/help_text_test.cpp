#include "launch/options/help_text.h"

#include <gtest/gtest.h>

#include <iterator>
#include <sstream>

#include "tests/launch/parsing.h"

namespace vmla::launch {
namespace {

TEST(HelpText, LinesAreBrokenBelowWhatTheyBelongTo) {
  EXPECT_EQ(fit_columns("short\n\n  line\n", 10), "short\n\n  line\n");
  EXPECT_EQ(fit_columns("one two three four", 10), "one two\nthree four\n");
  EXPECT_EQ(fit_columns("  --a X  one two three four", 18),
            "  --a X  one two\n         three\n         four\n");
  EXPECT_EQ(fit_columns("  vmla train --config x --set y=1", 24),
            "  vmla train --config \\\n    x --set y=1\n");
  EXPECT_EQ(fit_columns("  vmla train --config x    trains it all", 26),
            "  vmla train --config x\n      trains it all\n");
  EXPECT_EQ(fit_columns("a-word-that-is-too-long", 10), "a-word-that-is-too-long\n");
  EXPECT_EQ(fit_columns("  a-word-that-is-too-long x", 10), "  a-word-that-is-too-long\n  x\n");
}

TEST(HelpText, EveryHelpFitsATerminal) {
  std::vector<std::vector<std::string>> all = {
      {"--help"}, {"data", "--help"}, {"analyze", "--help"}};
  for (const CommandText& command : all_commands()) {
    std::istringstream words{std::string(command.name)};
    all.emplace_back(std::istream_iterator<std::string>(words),
                     std::istream_iterator<std::string>());
    all.back().push_back("--help");
  }
  for (const auto& words : all) {
    std::istringstream lines(*parse(words).text);
    for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 80u) << line;
  }
}

}  // namespace
}  // namespace vmla::launch
