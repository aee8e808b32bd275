#include "analysis/page/svg_plot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "analysis/page/plot_axis.h"
#include "analysis/page/text_width.h"

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

// The numbers behind `key="` of every text of a class, in order.
std::vector<double> numbers_of(const std::string& plot, const std::string& before) {
  std::vector<double> numbers;
  for (size_t at = plot.find(before); at != std::string::npos; at = plot.find(before, at + 1))
    numbers.push_back(std::stod(plot.substr(at + before.size(), 12)));
  return numbers;
}

TEST(SvgPlot, ALegendCountsCharactersAndKeepsThemApart) {
  // Each label is longer in bytes than in characters, or wider than a mean letter.
  const std::vector<std::string> labels = {
      "r₀.₉₉ größter Schätzwert", "WWWWMMMM", "слой", "层的秩", "a"};
  std::vector<Series> series;
  for (const std::string& label : labels)
    series.push_back({.label = label, .x = {0, 1}, .y = {1, 2}, .colour = "red"});
  const std::string plot = line_plot(series, {});
  const std::vector<double> x = numbers_of(plot, R"(<text class="label" x=")");
  ASSERT_EQ(x.size(), labels.size());
  // The first four stand in one row: by bytes the first would push the others into a second.
  for (size_t i = 0; i + 1 < 4; ++i)
    EXPECT_GE(x[i + 1] - x[i], text_width(labels[i], 11.5) + 23) << labels[i];
  EXPECT_LT(x[3], 540);
  // A label that no row holds is cut at a character, with an ellipsis.
  std::string longest;
  for (int i = 0; i < 200; ++i) longest += "ü";
  const std::string cut =
      line_plot({{.label = longest, .x = {0, 1}, .y = {1, 2}, .colour = "red"}}, {});
  EXPECT_THAT(cut, HasSubstr("ü…</text>"));
  EXPECT_THAT(cut, Not(HasSubstr(longest)));
}

TEST(SvgPlot, EveryAxisHasTicksAndNoTwoReadTheSame) {
  struct Case {
    double low, high;
    bool log;
  };
  for (const auto& [low, high, log] : {Case{0.52, 0.98, true},
                                       {2.1, 4.9, true},
                                       {100000, 100400, false},
                                       {0.12345, 0.12346, false},
                                       {3, 3, true},
                                       {1e-9, 1e9, true},
                                       {-5, 7, false}}) {
    const std::vector<double> ticks = Axis({low, high > low ? high : low * 1.2}, 0, 1, log).ticks();
    EXPECT_GE(ticks.size(), 2u) << low << " " << high;
    const std::vector<std::string> labels = tick_labels(ticks);
    EXPECT_EQ(std::set<std::string>(labels.begin(), labels.end()).size(), labels.size())
        << low << " " << high;
  }
}

TEST(SvgPlot, MarksThatStandCloseDoNotCollide) {
  PlotOptions options;
  options.marks = {{"teacher forcing", 100}, {"consistency distillation", 110}, {"dmd", 990}};
  const std::string plot = line_plot({{.x = {0, 1000}, .y = {1, 2}, .colour = "red"}}, options);
  const auto row_of = [&](const std::string& word) {
    const size_t end = plot.find(">" + word + "<");
    const size_t at = plot.rfind("y=\"", end);
    return std::stod(plot.substr(at + 3, 8));
  };
  EXPECT_GT(row_of("consistency distillation"), row_of("teacher forcing"));
  EXPECT_EQ(row_of("dmd"), row_of("teacher forcing"));  // before its line, at the right edge
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
