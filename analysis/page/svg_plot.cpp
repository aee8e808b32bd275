#include "analysis/page/svg_plot.h"

#include <algorithm>
#include <cmath>

#include "analysis/page/html_text.h"
#include "analysis/page/plot_axis.h"
#include "analysis/page/short_number.h"
#include "analysis/page/svg_text.h"
#include "model/io/format.h"

namespace vmla::analysis {
namespace {

// The margins around the plot's area, in pixels; kTitle is the height of the title's line and
// kLegendLine that of each row of the legend below it.
constexpr double kLeft = 56, kRight = 14, kTitle = 24, kLegendLine = 17, kBottom = 40;
constexpr double kCharacter = 6.3;   // mean width of a letter at the legend's size, for its layout
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
  std::string there, back;
  for (size_t i = 0; i < count; ++i) {
    const bool shown = area.x.can_show(band.x[i]) && area.y.can_show(band.high[i]);
    if (!shown || !std::isfinite(band.low[i])) continue;
    const double low = area.y.can_show(band.low[i]) ? area.y.at(band.low[i]) : area.y.lowest();
    const double column = area.x.at(band.x[i]);
    there +=
        formatted("{}{:.1f},{:.1f}", there.empty() ? 'M' : 'L', column, area.y.at(band.high[i]));
    back = formatted("L{:.1f},{:.1f}", column, low) + back;
  }
  if (there.empty()) return "";
  return formatted(R"(<path class="band" d="{}{}Z" fill="{}"/>)", there, back, band.colour);
}

std::string drawn_mark(const PlotMark& mark, const PlotArea& area) {
  if (!area.x.can_show(mark.x)) return "";
  const double column = area.x.at(mark.x);
  return formatted(R"(<path class="mark" d="M{:.1f},{:.1f}V{:.1f}"/>)"
                   R"(<text class="tick" x="{:.1f}" y="{:.1f}">{}</text>)",
                   column,
                   area.top,
                   area.bottom,
                   column + 4,
                   area.top + 10,
                   escape_html(mark.label));
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
    const double length = 26 + kCharacter * static_cast<double>(line.label.size()) + 10;
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
                             escape_html(line.label));
    x += length;
    legend.height = y - kTitle + 4;
  }
  return legend;
}

std::string drawn_axes(const PlotArea& area, const PlotOptions& options) {
  std::string out;
  for (const double tick : area.y.ticks()) {
    out += formatted(R"(<path class="grid" d="M{:g},{:.1f}H{:g}"/>)"
                     R"(<text class="tick" text-anchor="end" x="{:g}" y="{:.1f}">{}</text>)",
                     kLeft,
                     area.y.at(tick),
                     area.right,
                     kLeft - 6,
                     area.y.at(tick) + 3.5,
                     short_number(tick));
  }
  for (const double tick : area.x.ticks()) {
    out += formatted(R"(<path class="grid" d="M{:.1f},{:.1f}v4"/>)"
                     R"(<text class="tick" text-anchor="middle" x="{:.1f}" y="{:g}">{}</text>)",
                     area.x.at(tick),
                     area.bottom,
                     area.x.at(tick),
                     area.bottom + 16,
                     short_number(tick));
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
      R"(<text class="title" x="{:g}" y="16">{}</text>)", kLeft, escape_html(options.title));
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
  for (const PlotMark& mark : options.marks) out += drawn_mark(mark, area);
  for (const bool faint : {true, false}) {
    for (const Series& line : series) {
      if (line.faint == faint) out += drawn_series(line, area);
    }
  }
  return out + "</svg>";
}

}  // namespace vmla::analysis
