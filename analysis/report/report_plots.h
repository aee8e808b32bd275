#pragma once

#include <string>
#include <vector>

#include "analysis/page/svg_plot.h"
#include "analysis/runs/run_contents.h"

/// Plots of logged figures, as the reports draw them.
namespace vmla::analysis {

/// A mean over the last points of a noisy curve, heavier on the latest: a point counts 1/e of one
/// that comes `span` points later. Unbiased from the first point on. Points that are not finite are
/// left out.
std::vector<double> smoothed(const std::vector<double>& values, double span);

/// Adds a noisy curve in the colour of `style`: pale itself, without a label, and its moving mean
/// as `style` says.
void add_noisy(std::vector<Series>& plot, const MetricSeries& series, const Series& style);

/// One metric of a run over the steps; says so where it was not recorded.
struct MetricPlot {
  std::string key;
  std::string title;
  std::string y_label = {};  // what is plotted, with its unit
  bool log_y = false;
  bool noisy = false;  // drawn with its moving mean
};
std::string metric_plot(const RunContents& run, const MetricPlot& what);

/// A metric of every player in one plot: `key` is the generator's, `key_PLAYER` another's.
struct PlayerPlot {
  std::string key;
  std::string title;
  std::string y_label = {};
  /// A metric that is drawn with them as points, under the name "validation"; "" for none.
  std::string validation_key = {};
};
std::string player_plot(const RunContents& run, const PlayerPlot& what);

}  // namespace vmla::analysis
