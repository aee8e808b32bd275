#pragma once

#include <limits>
#include <string>
#include <vector>

#include "analysis/page/svg_plot.h"

/// The scales of a line plot: which values it spans, where they lie, where ticks stand.
namespace vmla::analysis {

/// The least and the greatest of some values.
struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();
  void add(double value);
  bool empty() const { return !(low <= high); }
};

/// What the two axes of a plot span. Both are empty, or none.
struct PlotRanges {
  Range x, y;
};

/// The ranges of all points that `options`' axes can show, with some room above and below (or
/// options.y_min and y_max instead), and never of no extent: logarithms and quotients stay finite.
PlotRanges ranges_of(const std::vector<Series>& series, const PlotOptions& options);

/// A linear or a logarithmic axis, from data to pixels.
class Axis {
 public:
  /// `values` lie between the pixels `from` and `to`; `from` may be the larger (SVG's y points
  /// down).
  Axis(const Range& values, double from, double to, bool logarithmic)
      : values_(values), from_(from), to_(to), logarithmic_(logarithmic) {}

  /// Finite, and positive on a logarithmic axis.
  bool can_show(double value) const;
  /// The pixel of a value that it can show; those beyond the range lie on its ends.
  double at(double value) const;
  /// The pixel of the least value.
  double lowest() const { return from_; }
  /// Round values within the range, two at least.
  std::vector<double> ticks() const;

 private:
  std::vector<double> steps() const;
  std::vector<double> decades() const;

  Range values_;
  double from_, to_;
  bool logarithmic_;
};

/// The ticks in words: as short_number writes them, with more digits where neighbours would read
/// the same.
std::vector<std::string> tick_labels(const std::vector<double>& ticks);

}  // namespace vmla::analysis
