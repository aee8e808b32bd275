#include "model/text/prompt_cleaning.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "model/text/html_unescape.h"

namespace vmla::model {
namespace {

using namespace std::string_literals;

// What Python's html.unescape gives for the same text.
TEST(HtmlUnescape, ReadsReferencesAsBrowsersDo) {
  const std::pair<std::string, std::string> cases[] = {
      {"", ""},
      {"&", "&"},
      {"a & b &&amp; c", "a & b && c"},
      {"&amp;amp;", "&amp;"},
      {"&eacute;&eacute &eacutes &NotEqualTilde;", "éé és ≂̸"},
      {"&notit; &notin; &unknown; &a", "¬it; ∉ &unknown; &a"},
      {"&CounterClockwiseContourIntegral;", "∳"},
      {"&#233;&#xE9;&#XE9;&#0233 &#x;&#;&#", "éééé &#x;&#;&#"},
      {"&#0;&#xD800;&#x110000;&#99999999999999999999;", "\uFFFD\uFFFD\uFFFD\uFFFD"},
      {"[&#128;&#x81;&#150;&#159;]", "[€\u0081–Ÿ]"},
      {"[&#1;&#8;&#11;&#127;&#xFDD0;&#x1FFFF;]", "[]"},
      {"[&#9;&#10;&#12;&#13;&#32;]", "[\t\n\f\r ]"},
      {"&#x1F600;&#xFFFD;", "😀\uFFFD"},
      {"&猫amp; &amp猫", "&猫amp; &猫"},
      {"\xFF&lt;\xC3", "\xFF<\xC3"},
      {"&amp\0;"s, "&\0;"s},
  };
  for (const auto& [text, expected] : cases) EXPECT_EQ(html_unescape(text), expected) << text;
}

TEST(PromptCleaning, UnescapesTwiceAndCollapsesWhiteSpace) {
  EXPECT_EQ(clean_prompt(""), "");
  EXPECT_EQ(clean_prompt(" \t\n\u00A0\u3000\u2028"), "");
  EXPECT_EQ(clean_prompt("  a \u2003\t b\u3000c\u0085"), "a b c");
  EXPECT_EQ(clean_prompt("&amp;lt;b&amp;gt; &amp;amp;lt;"), "<b> &lt;");
  EXPECT_EQ(clean_prompt("x&nbsp;&nbsp;y&#32;"), "x y");
  EXPECT_EQ(clean_prompt("a\x1C\x1F z"), "a z");
  // A joiner and a space of no width are no white space; bytes that are no UTF-8 stay.
  EXPECT_EQ(clean_prompt("a\u200Db\u200Bc\xFE"), "a\u200Db\u200Bc\xFE");
}

}  // namespace
}  // namespace vmla::model
