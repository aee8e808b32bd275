#include "analysis/page/html_text.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "analysis/page/page_origin.h"
#include "model/io/format.h"

namespace vmla::analysis {
namespace {

TEST(HtmlText, Base64KnownAnswers) {  // RFC 4648, section 10
  EXPECT_EQ(base64(""), "");
  EXPECT_EQ(base64("f"), "Zg==");
  EXPECT_EQ(base64("fo"), "Zm8=");
  EXPECT_EQ(base64("foo"), "Zm9v");
  EXPECT_EQ(base64("foobar"), "Zm9vYmFy");
  EXPECT_EQ(base64(std::string("\xff\xfe\x00", 3)), "//4A");
}

TEST(HtmlText, ATableHasTheCellsOfItsColumns) {
  const std::vector<Column<int>> columns = {
      {"n", [](const int& n) { return formatted("{}", n); }},
      {"n<sup>2</sup>", [](const int& n) { return formatted("{}", n * n); }}};
  EXPECT_EQ(table_of(columns, {2, 3}), table({"n", "n<sup>2</sup>"}, {{"2", "4"}, {"3", "9"}}));
  EXPECT_EQ(table({"a"}, {{"1"}}),
            "<div class=\"panel table\"><table><thead><tr><th>a</th></tr></thead><tbody>"
            "<tr><td>1</td></tr>\n</tbody></table></div>");
}

TEST(HtmlText, AWideTableSaysThatItScrolls) {
  const std::vector<std::string> heads(6, "head");
  EXPECT_NE(table(heads, {}).find("scrolls sideways"), std::string::npos);
  EXPECT_EQ(table({"a", "b"}, {}).find("scrolls sideways"), std::string::npos);
  EXPECT_NE(wide_panel("<svg></svg>").find("scrolls sideways"), std::string::npos);
}

TEST(HtmlText, TheFootSaysWhoWroteThePageWhenAndWhere) {
  const char* const kName = "SOURCE_DATE_EPOCH";
  ::unsetenv(kName);
  EXPECT_EQ(page_origin().rfind("vmla ", 0), 0u);
  EXPECT_NE(page_origin().find(" UTC, on "), std::string::npos);
  ::setenv(kName, "86400", 1);
  const std::string origin = page_origin();
  EXPECT_NE(origin.find("1970-01-02 00:00 UTC"), std::string::npos);
  EXPECT_EQ(origin.find(", on "), std::string::npos);
  EXPECT_NE(html_page({"t", "s", ""}).find("Written by " + origin), std::string::npos);
  ::setenv(kName, "yesterday", 1);  // no number: as if it were not there
  EXPECT_NE(page_origin().find(", on "), std::string::npos);
  ::unsetenv(kName);
}

TEST(HtmlText, AMarkSaysWhetherItIsGood) {
  EXPECT_EQ(verdict_mark(true), "<span class=\"yes\">✓</span>");
  EXPECT_EQ(verdict_mark(false, "left"), "<span class=\"no\">✗ left</span>");
}

}  // namespace
}  // namespace vmla::analysis
