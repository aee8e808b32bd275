#include "launch/prompts_over_time.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/io/error.h"

namespace vmla::launch {
namespace {

using ::testing::HasSubstr;

TEST(PromptsOverTime, ReadsTextsAndSeconds) {
  const auto prompts = parse_prompts_over_time("a cat[10s] |  a dog, [black] [2.5s]|a bird");
  ASSERT_EQ(prompts.size(), 3U);
  EXPECT_EQ(prompts[0].text, "a cat");
  EXPECT_EQ(prompts[0].seconds, 10.0);
  EXPECT_EQ(prompts[1].text, "a dog, [black]");
  EXPECT_EQ(prompts[1].seconds, 2.5);
  EXPECT_EQ(prompts[2].text, "a bird");
  EXPECT_FALSE(prompts[2].seconds.has_value());
  EXPECT_EQ(parse_prompts_over_time("[3s]").front().text, "");  // the empty prompt is a prompt
  EXPECT_EQ(parse_prompts_over_time("a [box]").front().text, "a [box]");
}

struct Wrong {
  const char* text;
  const char* says;
};
class PromptsOverTimeMistake : public testing::TestWithParam<Wrong> {};

TEST_P(PromptsOverTimeMistake, IsOneLineThatNamesThePart) {
  try {
    parse_prompts_over_time(GetParam().text);
    FAIL() << "accepted: " << GetParam().text;
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), HasSubstr("--prompts-over-time"));
    EXPECT_THAT(error.what(), HasSubstr(GetParam().says));
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
  }
}

INSTANTIATE_TEST_SUITE_P(All,
                         PromptsOverTimeMistake,
                         testing::Values(Wrong{"a cat | a dog[2s]", "'a cat' (prompt 1)"},
                                         Wrong{"a[1s] | b[xs] | c[1s]", "'b[xs]' (prompt 2)"},
                                         Wrong{"a[1s] |", "(prompt 2)"},
                                         Wrong{"", "(prompt 1)"},
                                         Wrong{"a[0s]", "lasts 0 s; it must be above 0"},
                                         Wrong{"a[-1s]", "lasts -1 s"},
                                         Wrong{"a[infs]", "above 0"}));

}  // namespace
}  // namespace vmla::launch
