#include "analysis/page/plot_style.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "analysis/page/svg_plot.h"

namespace vmla::analysis {
namespace {

using testing::HasSubstr;

TEST(PlotStyle, StandaloneFilesCarryTheirStyle) {
  const std::string file = standalone_svg(line_plot({{"a", {0, 1}, {0, 1}, series_colour(0)}}, {}));
  EXPECT_EQ(file.rfind("<?xml", 0), 0u);
  EXPECT_THAT(file, HasSubstr("<style>:root{--c0:"));
}

TEST(PlotStyle, CssKeepsItsSpacesButForThoseOfTheLayout) {
  EXPECT_EQ(compact_css("\n  .a{margin:0 auto;\n      fill:none}\n  .b{}\n"),
            ".a{margin:0 auto;fill:none}.b{}");
}

TEST(PlotStyle, ColoursOfLayersDifferAndHaveAnOrder) {
  EXPECT_EQ(series_colour(8), series_colour(0));
  EXPECT_EQ(layer_colour(1, 4), series_colour(1));
  EXPECT_EQ(layer_colour(0, 30), "hsl(215 70% 55%)");
  EXPECT_EQ(layer_colour(29, 30), "hsl(45 70% 55%)");
}

}  // namespace
}  // namespace vmla::analysis
