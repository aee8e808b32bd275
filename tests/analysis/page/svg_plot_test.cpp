#include "analysis/page/svg_plot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
namespace vmla::analysis {
namespace {

using testing::HasSubstr;
using testing::Not;

size_t count_of(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(SvgPlot, DrawsEverySeriesWithItsLabel) {
  const std::string plot =
      line_plot({{.label = "train <a>", .x = {0, 1, 2}, .y = {1, 2, 3}, .colour = "red"},
                 {.label = "null", .x = {0, 2}, .y = {2, 2}, .colour = "grey", .dashed = true}},
                {.title = "Loss", .x_label = "step", .y_label = "loss"});
  EXPECT_THAT(plot, HasSubstr("train &lt;a&gt;"));
  EXPECT_THAT(plot, HasSubstr("stroke=\"red\""));
  EXPECT_THAT(plot, HasSubstr("stroke-dasharray"));
  EXPECT_EQ(count_of(plot, "<svg"), 1u);
  EXPECT_EQ(count_of(plot, "</svg>"), 1u);
}

TEST(SvgPlot, BreaksLinesAtGapsAndNeverWritesNan) {
  const double nan = std::nan("");
  const std::string plot = line_plot({{"", {0, 1, 2, 3, 4}, {1, 2, nan, 4, 5}, "c"}}, {});
  const size_t path = plot.find("class=\"line\"");
  EXPECT_EQ(count_of(plot.substr(path, plot.find("stroke", path) - path), "M"), 2u);
  // On a log axis zero and below are gaps as well.
  const std::string logarithmic = line_plot({{"", {0, 1, 2}, {0, -1, 3}, "c"}}, {.log_y = true});
  for (const std::string& text : {plot, logarithmic}) {
    EXPECT_THAT(text, Not(HasSubstr("nan")));
    EXPECT_THAT(text, Not(HasSubstr("inf")));
  }
}

TEST(SvgPlot, BandsMarksAndALogarithmOfTheStep) {
  PlotOptions options;
  options.log_x = options.log_y = true;
  options.bands = {{"band", {8, 64, 512}, {0, 1, 2}, {2, 3, 4}, "green"}};
  options.marks = {{"dmd", 64}, {"none", 0}};  // a log axis has no 0
  const std::string plot = line_plot({{"run", {8, 64, 512}, {1, 2, 3}, "red"}}, options);
  const size_t at = plot.find("class=\"band\"");
  ASSERT_NE(at, std::string::npos);
  const std::string path = plot.substr(at, plot.find("fill", at) - at);
  EXPECT_EQ(count_of(path, "L"), 5u);  // three points up, three back, one of them by M
  EXPECT_THAT(path, HasSubstr("Z"));
  EXPECT_THAT(plot, HasSubstr(">dmd</text>"));
  EXPECT_THAT(plot, Not(HasSubstr(">none</text>")));
  EXPECT_THAT(plot, HasSubstr(">band</text>"));
  EXPECT_THAT(plot, Not(HasSubstr("nan")));
  EXPECT_THAT(plot, HasSubstr(">100</text>"));  // decades below
}

TEST(SvgPlot, SaysThatThereIsNothing) {
  EXPECT_THAT(line_plot({}, {}), HasSubstr("nothing recorded"));
  EXPECT_THAT(line_plot({{"a", {1}, {std::nan("")}, "c"}}, {}), HasSubstr("nothing recorded"));
  // One point has no range.
  EXPECT_THAT(line_plot({{"a", {5}, {2}, "c"}}, {}), Not(HasSubstr("nan")));
}

TEST(SvgPlot, ThinsLongSeriesButKeepsTheirExtremes) {
  std::vector<double> x, y;
  for (int i = 0; i < 100000; ++i) {
    x.push_back(i);
    y.push_back(i == 54321 ? 50.0 : std::sin(0.01 * i));
  }
  const std::string thin = line_plot({{"", x, y, "c"}}, {.y_min = -1, .y_max = 50});
  EXPECT_LT(thin.size(), 20000u);
  // The spike touches the plot's top, 30 pixels below the title's line.
  EXPECT_THAT(thin, HasSubstr(",30.0"));
}

}  // namespace
}  // namespace vmla::analysis
