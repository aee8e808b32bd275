#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

/// Plots as SVG text, to stand in a page or in a file of their own. Colours are CSS variables, so
/// that one plot is readable on light and dark pages; plot_style() defines them.
namespace vmla::analysis {

/// One line of a plot. Points that are not finite (or not positive on a log axis) break the line.
struct Series {
  std::string label;  // "" keeps it out of the legend
  std::vector<double> x, y;
  std::string colour;  // a CSS colour; see series_colour(), layer_colour()
  bool dashed = false;
  bool faint = false;    // drawn thin and pale, behind the others
  bool markers = false;  // a dot at every point
};

/// The space between two lines, filled palely behind the others. Takes no part in the scale of a
/// logarithmic axis where it is not positive.
struct PlotBand {
  std::string label;  // "" keeps it out of the legend
  std::vector<double> x, low, high;
  std::string colour;
};

/// An upright line with a word beside it: where something begins.
struct PlotMark {
  std::string label;
  double x = 0;
};

struct PlotOptions {
  std::string title = {}, x_label = {}, y_label = {};
  bool log_x = false, log_y = false;
  std::vector<PlotBand> bands = {};
  std::vector<PlotMark> marks = {};
  std::optional<double> y_min = {}, y_max = {};  // default: what the data needs
  int width = 540, height = 300;
};

/// A line plot. Long series are thinned to their extremes, which looks the same and keeps pages
/// small. Without any drawable point the plot says so.
std::string line_plot(const std::vector<Series>& series, const PlotOptions& options);

/// One horizontal bar of parts, with a legend that gives each part's share.
struct Share {
  std::string label;
  double value = 0;
};
std::string share_bar(const std::vector<Share>& shares, const std::string& unit, int width = 540);

/// Distinct colours for a few series (wraps after eight).
std::string series_colour(size_t index);
/// A colour scale for many ordered ones: layer `index` of `count`.
std::string layer_colour(size_t index, size_t count);

/// The CSS that the plots' classes and variables need: once a page.
std::string plot_style();
/// `svg` with that CSS inside it and an XML header: a file that stands by itself.
std::string standalone_svg(const std::string& svg);

/// A mean over the last steps, heavier on the latest: what noisy curves are drawn with. `span` is
/// the number of points after which an old one counts 1/e. Starts unbiased.
std::vector<double> smoothed(const std::vector<double>& values, double span);

}  // namespace vmla::analysis
