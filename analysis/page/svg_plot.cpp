#include "analysis/page/svg_plot.h"

#include <algorithm>
#include <cmath>

#include "analysis/page/html_text.h"
#include "analysis/page/plot_axis.h"
#include "analysis/page/short_number.h"
#include "analysis/page/svg_text.h"
#include "analysis/page/text_width.h"
#include "model/io/format.h"

namespace vmla::analysis {
namespace {

// The margins around the plot's area, in pixels; kTitle is the height of the title's line and
// kLegendLine that of each row of the legend below it.
constexpr double kLeft = 56, kRight = 22, kTitle = 24, kLegendLine = 17, kBottom = 40;
constexpr double kLabelSize = 11.5, kTickSize = 10.5, kTitleSize = 13;  // fonts of plot_style()
constexpr double kLegendDash = 23;   // a legend's piece of line, and the room behind it
constexpr size_t kMostPoints = 500;  // of a line; each bucket keeps its least and greatest value

// Where things are drawn: both axes, and the edges of the area between them in pixels.
struct PlotArea {
  Axis x, y;
  double top, bottom, right;
};

std::string dashes(const Series& line) {
  return line.dashed ? R"( stroke-dasharray="5 4")" : "";
}

// Indices to draw: all of a short line, else the least and the greatest of each bucket, in order.
std::vector<size_t> thinned(const std::vector<double>& values) {
  std::vector<size_t> kept;
  if (values.size() <= kMostPoints) {
    for (size_t i = 0; i < values.size(); ++i) kept.push_back(i);
    return kept;
  }
  const size_t buckets = kMostPoints / 2;
  for (size_t b = 0; b < buckets; ++b) {
    const size_t begin = b * values.size() / buckets, end = (b + 1) * values.size() / buckets;
    size_t low = begin, high = begin;
    for (size_t i = begin; i < end; ++i) {
      if (values[i] < values[low]) low = i;
      if (values[i] > values[high]) high = i;
      if (!std::isfinite(values[i])) low = high = i;  // keep the gap
    }
    kept.push_back(std::min(low, high));
    if (low != high) kept.push_back(std::max(low, high));
  }
  if (kept.back() + 1 != values.size()) kept.push_back(values.size() - 1);
  return kept;
}

std::string drawn_series(const Series& line, const PlotArea& area) {
  std::string path;
  std::string dots;
  bool pen_down = false;
  const size_t count = std::min(line.x.size(), line.y.size());
  for (const size_t i :
       thinned({line.y.begin(), line.y.begin() + static_cast<std::ptrdiff_t>(count)})) {
    if (!area.x.can_show(line.x[i]) || !area.y.can_show(line.y[i])) {
      pen_down = false;
      continue;
    }
    const double column = area.x.at(line.x[i]), row = area.y.at(line.y[i]);
    path += formatted("{}{:.1f},{:.1f}", pen_down ? 'L' : 'M', column, row);
    pen_down = true;
    if (line.markers) {
      dots += formatted(
          R"(<circle cx="{:.1f}" cy="{:.1f}" r="2.6" fill="{}"><title>{} {}: {}</title></circle>)",
          column,
          row,
          line.colour,
          escape_html(line.label),
          short_number(line.x[i]),
          short_number(line.y[i]));
    }
  }
  return formatted(R"(<path class="line{}" d="{}" stroke="{}"{}/>{})",
                   line.faint ? " faint" : "",
                   path,
                   line.colour,
                   dashes(line),
                   dots);
}

// One polygon: along the upper edge, back along the lower one. A lower edge that a logarithmic axis
// cannot show lies on the axis' end.
std::string drawn_band(const PlotBand& band, const PlotArea& area) {
  const size_t count = std::min({band.x.size(), band.low.size(), band.high.size()});
  std::string there;
  std::vector<std::string> lower;
  for (size_t i = 0; i < count; ++i) {
    const bool shown = area.x.can_show(band.x[i]) && area.y.can_show(band.high[i]);
    if (!shown || !std::isfinite(band.low[i])) continue;
    const double low = area.y.can_show(band.low[i]) ? area.y.at(band.low[i]) : area.y.lowest();
    const double column = area.x.at(band.x[i]);
    there +=
        formatted("{}{:.1f},{:.1f}", there.empty() ? 'M' : 'L', column, area.y.at(band.high[i]));
    lower.push_back(formatted("L{:.1f},{:.1f}", column, low));
  }
  if (there.empty()) return "";
  std::string back;
  for (auto point = lower.rbegin(); point != lower.rend(); ++point) back += *point;
  return formatted(R"(<path class="band" d="{}{}Z" fill="{}"/>)", there, back, band.colour);
}

// Marks with their words, each in the highest row where it collides with no word before it; beside
// the right edge a word stands before its line.
std::string drawn_marks(const std::vector<PlotMark>& marks, const PlotArea& area) {
  constexpr double kGapBeside = 4, kRow = 13;
  struct Taken {
    double from, to;
    int row;
  };
  std::string out;
  std::vector<Taken> taken;
  for (const PlotMark& mark : marks) {
    if (!area.x.can_show(mark.x)) continue;
    const double column = area.x.at(mark.x), length = text_width(mark.label, kTickSize);
    const bool before = column + kGapBeside + length > area.right;
    const double from =
        before ? std::max(column - kGapBeside - length, kLeft) : column + kGapBeside;
    Taken place{.from = from, .to = from + length + kGapBeside, .row = 0};
    const auto collides = [&](const Taken& other) {
      return other.row == place.row && other.from < place.to && place.from < other.to;
    };
    while (std::ranges::any_of(taken, collides)) ++place.row;
    taken.push_back(place);
    out += formatted(R"(<path class="mark" d="M{:.1f},{:.1f}V{:.1f}"/>)"
                     R"(<text class="tick" x="{:.1f}" y="{:.1f}">{}</text>)",
                     column,
                     area.top,
                     area.bottom,
                     from,
                     area.top + 10 + kRow * place.row,
                     escape_html(mark.label));
  }
  return out;
}

// The legend's rows under the title, and their height in pixels.
struct Legend {
  std::string text;
  double height = 0;
};

Legend drawn_legend(const std::vector<Series>& series, const PlotOptions& options) {
  std::vector<Series> named = series;
  for (const PlotBand& band : options.bands)  // in the legend a band is a line of its colour
    named.push_back({.label = band.label, .colour = band.colour});
  Legend legend;
  double x = kLeft, y = kTitle + 10;
  for (const Series& line : named) {
    if (line.label.empty()) continue;
    const std::string label =
        fitted_text(line.label, kLabelSize, options.width - kRight - kLeft - kLegendDash);
    const double length = kLegendDash + text_width(label, kLabelSize) + 12;
    if (!legend.text.empty() && x + length > options.width - kRight) {
      x = kLeft;
      y += kLegendLine;
    }
    legend.text += formatted(R"(<path class="line" d="M{:.1f},{:.1f}h18" stroke="{}"{}/>)"
                             R"(<text class="label" x="{:.1f}" y="{:.1f}">{}</text>)",
                             x,
                             y - 4,
                             line.colour,
                             dashes(line),
                             x + 23,
                             y,
                             escape_html(label));
    x += length;
    legend.height = y - kTitle + 4;
  }
  return legend;
}

std::string drawn_axes(const PlotArea& area, const PlotOptions& options) {
  std::string out;
  const std::vector<double> y_ticks = area.y.ticks(), x_ticks = area.x.ticks();
  const std::vector<std::string> y_labels = tick_labels(y_ticks), x_labels = tick_labels(x_ticks);
  for (size_t i = 0; i < y_ticks.size(); ++i) {
    const double row = area.y.at(y_ticks[i]);
    out += formatted(R"(<path class="grid" d="M{:g},{:.1f}H{:g}"/>)"
                     R"(<text class="tick" text-anchor="end" x="{:g}" y="{:.1f}">{}</text>)",
                     kLeft,
                     row,
                     area.right,
                     kLeft - 6,
                     row + 3.5,
                     y_labels[i]);
  }
  for (size_t i = 0; i < x_ticks.size(); ++i) {
    const double column = area.x.at(x_ticks[i]);
    out += formatted(R"(<path class="grid" d="M{:.1f},{:.1f}v4"/>)"
                     R"(<text class="tick" text-anchor="middle" x="{:.1f}" y="{:g}">{}</text>)",
                     column,
                     area.bottom,
                     column,
                     area.bottom + 16,
                     x_labels[i]);
  }
  out += formatted(R"(<path class="axis" d="M{:g},{:.1f}H{:g}"/>)", kLeft, area.bottom, area.right);
  out += formatted(R"(<text class="label" text-anchor="middle" x="{:g}" y="{}">{}</text>)",
                   (kLeft + area.right) / 2,
                   options.height - 7,
                   escape_html(options.x_label));
  out += formatted(
      R"svg(<text class="label" text-anchor="middle" transform="translate(13,{:.1f}) rotate(-90)">)svg"
      "{}</text>",
      (area.top + area.bottom) / 2,
      escape_html(options.y_label));
  return out;
}

}  // namespace

std::string line_plot(const std::vector<Series>& series, const PlotOptions& options) {
  std::string out =
      open_svg({.width = options.width, .height = options.height, .title = options.title});
  out += formatted(
      R"(<text class="title" x="{:g}" y="16">{}</text>)",
      kLeft,
      escape_html(fitted_text(options.title, kTitleSize, options.width - kLeft - kRight)));
  const PlotRanges ranges = ranges_of(series, options);
  if (ranges.x.empty()) {
    return out + formatted(R"(<text class="label" text-anchor="middle" x="{}" y="{}">)"
                           "nothing recorded</text></svg>",
                           options.width / 2,
                           options.height / 2);
  }
  const Legend legend = drawn_legend(series, options);
  const double top = kTitle + 6 + legend.height;
  const double bottom = options.height - kBottom, right = options.width - kRight;
  const PlotArea area{.x = Axis(ranges.x, kLeft, right, options.log_x),
                      .y = Axis(ranges.y, bottom, top, options.log_y),
                      .top = top,
                      .bottom = bottom,
                      .right = right};
  out += legend.text + drawn_axes(area, options);
  for (const PlotBand& band : options.bands) out += drawn_band(band, area);
  out += drawn_marks(options.marks, area);
  for (const bool faint : {true, false}) {
    for (const Series& line : series) {
      if (line.faint == faint) out += drawn_series(line, area);
    }
  }
  return out + "</svg>";
}

}  // namespace vmla::analysis
