#pragma once

#include <optional>
#include <string>
#include <vector>

/// Line plots as SVG text, to stand in a page or (standalone_svg) in a file of their own.
namespace vmla::analysis {

/// One line of a plot, through the points (x[i], y[i]). A point that is not finite, or not positive
/// on a logarithmic axis, breaks the line.
struct Series {
  std::string label = {};  // "" keeps it out of the legend
  std::vector<double> x = {}, y = {};
  std::string colour = {};  // a CSS colour: series_colour(), layer_colour(), kNullColour
  bool dashed = false;
  bool faint = false;    // drawn thin and pale, behind the others
  bool markers = false;  // a dot at every point, with its values as a tooltip
};

/// The space between two lines, filled palely behind all series. Takes no part in the scale of a
/// logarithmic axis where it is not positive.
struct PlotBand {
  std::string label = {};  // "" keeps it out of the legend
  std::vector<double> x = {}, low = {}, high = {};
  std::string colour = {};
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
  int width = 540, height = 300;                 // pixels of the drawing; pages scale it
};

/// A line plot. Long series are thinned to their extremes, which looks the same and keeps pages
/// small. Without any drawable point the plot says so.
std::string line_plot(const std::vector<Series>& series, const PlotOptions& options);

}  // namespace vmla::analysis
