#include "analysis/page/svg_plot.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <limits>
#include <sstream>

#include "analysis/page/html_text.h"
#include "analysis/page/short_number.h"

namespace vmla::analysis {
namespace {

constexpr double kLeft = 56, kRight = 14, kTitle = 24, kLegendLine = 17, kBottom = 40;
constexpr size_t kMostPoints = 500;  // of a line; each bucket keeps its least and greatest value
constexpr double kCharacter = 6.3;   // mean width of a letter at the legend's size, for its layout

std::string fixed(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", value);
  return text;
}

// A linear or logarithmic axis from data to pixels.
class Axis {
 public:
  Axis(double low, double high, double from, double to, bool logarithmic)
      : logarithmic_(logarithmic), low_(low), high_(high), from_(from), to_(to) {}

  bool can_show(double value) const { return std::isfinite(value) && (!logarithmic_ || value > 0); }
  double at(double value) const {
    const double share = logarithmic_ ? std::log(value / low_) / std::log(high_ / low_)
                                      : (value - low_) / (high_ - low_);
    return from_ + std::clamp(share, 0.0, 1.0) * (to_ - from_);
  }
  double lowest() const { return from_; }
  std::vector<double> ticks() const { return logarithmic_ ? decades() : steps(); }

 private:
  // Multiples of 1, 2 or 5 times a power of ten, four to eight of them.
  std::vector<double> steps() const {
    const double raw = (high_ - low_) / 5;
    const double power = std::pow(10.0, std::floor(std::log10(raw)));
    const double digit = raw / power;
    const double step = power * (digit < 1.5 ? 1 : digit < 3.5 ? 2 : digit < 7.5 ? 5 : 10);
    std::vector<double> ticks;
    for (double k = std::ceil(low_ / step - 1e-9); k * step <= high_ + 1e-9 * step; ++k) {
      ticks.push_back(k * step);
    }
    return ticks;
  }
  // Powers of ten; where there are fewer than three, 2 and 5 times them as well.
  std::vector<double> decades() const {
    std::vector<double> ticks;
    const double span = std::log10(high_ / low_);
    const int every = span > 8 ? static_cast<int>(span / 5) : 1;
    const int first = static_cast<int>(std::floor(std::log10(low_)));
    for (int k = first; k <= first + static_cast<int>(span) + 2; k += every) {
      for (const double digit : {1.0, 2.0, 5.0}) {
        const double tick = digit * std::pow(10.0, k);
        if ((digit == 1 || span < 2.5) && tick >= low_ * 0.999 && tick <= high_ * 1.001) {
          ticks.push_back(tick);
        }
      }
    }
    return ticks;
  }

  bool logarithmic_;
  double low_, high_, from_, to_;
};

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();
  void add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  bool empty() const { return !(low <= high); }
};

struct Ranges {
  Range x, y;
};

Ranges ranges_of(const std::vector<Series>& series, const PlotOptions& options) {
  Ranges ranges;
  const auto add = [&](double x, double y) {
    if (!std::isfinite(x) || !std::isfinite(y)) return;
    if ((options.log_x && x <= 0) || (options.log_y && y <= 0)) return;
    ranges.x.add(x);
    ranges.y.add(y);
  };
  for (const Series& line : series) {
    for (size_t i = 0; i < std::min(line.x.size(), line.y.size()); ++i) add(line.x[i], line.y[i]);
  }
  for (const PlotBand& band : options.bands) {
    for (size_t i = 0; i < std::min({band.x.size(), band.low.size(), band.high.size()}); ++i) {
      add(band.x[i], band.low[i]);
      add(band.x[i], band.high[i]);
    }
  }
  return ranges;
}

// Room above and below, and a height for flat lines.
void widen(Range& y, const PlotOptions& options) {
  if (options.log_y) {
    const double room = std::max(std::pow(y.high / y.low, 0.06), 1.1);
    y.low /= room;
    y.high *= room;
  } else {
    const double room =
        y.high > y.low ? 0.06 * (y.high - y.low) : std::max(0.1 * std::abs(y.high), 1e-6);
    y.low -= room;
    y.high += room;
  }
  if (options.y_min) y.low = *options.y_min;
  if (options.y_max) y.high = *options.y_max;
  if (y.high <= y.low) y.high = y.low + 1;
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

void draw_series(std::ostringstream& out, const Series& line, const Axis& x, const Axis& y) {
  std::string path;
  std::string dots;
  bool pen_down = false;
  const size_t count = std::min(line.x.size(), line.y.size());
  for (const size_t i :
       thinned({line.y.begin(), line.y.begin() + static_cast<std::ptrdiff_t>(count)})) {
    if (!x.can_show(line.x[i]) || !y.can_show(line.y[i])) {
      pen_down = false;
      continue;
    }
    const std::string point = fixed(x.at(line.x[i])) + "," + fixed(y.at(line.y[i]));
    path += (pen_down ? "L" : "M") + point;
    pen_down = true;
    if (line.markers) {
      dots += "<circle cx=\"" + fixed(x.at(line.x[i])) + "\" cy=\"" + fixed(y.at(line.y[i])) +
              "\" r=\"2.6\" fill=\"" + line.colour + "\"><title>" + escape_html(line.label) + " " +
              short_number(line.x[i]) + ": " + short_number(line.y[i]) + "</title></circle>";
    }
  }
  out << "<path class=\"line" << (line.faint ? " faint" : "") << "\" d=\"" << path << "\" stroke=\""
      << line.colour << '"' << (line.dashed ? " stroke-dasharray=\"5 4\"" : "") << "/>" << dots;
}

// One polygon: along the upper edge, back along the lower one. An edge that a logarithmic axis
// cannot show lies on its end.
void draw_band(std::ostringstream& out, const PlotBand& band, const Axis& x, const Axis& y) {
  const size_t count = std::min({band.x.size(), band.low.size(), band.high.size()});
  std::string path, back;
  for (size_t i = 0; i < count; ++i) {
    if (!x.can_show(band.x[i]) || !y.can_show(band.high[i]) || !std::isfinite(band.low[i]))
      continue;
    const double low = y.can_show(band.low[i]) ? y.at(band.low[i]) : y.lowest();
    const std::string column = fixed(x.at(band.x[i]));
    path += (path.empty() ? "M" : "L") + column + "," + fixed(y.at(band.high[i]));
    back = "L" + column + "," + fixed(low) + back;
  }
  if (path.empty()) return;
  out << "<path class=\"band\" d=\"" << path << back << "Z\" fill=\"" << band.colour << "\"/>";
}

void draw_mark(
    std::ostringstream& out, const PlotMark& mark, const Axis& x, double top, double bottom) {
  if (!x.can_show(mark.x)) return;
  const std::string column = fixed(x.at(mark.x));
  out << "<path class=\"mark\" d=\"M" << column << ',' << fixed(top) << "V" << fixed(bottom)
      << "\"/><text class=\"tick\" x=\"" << fixed(x.at(mark.x) + 4) << "\" y=\"" << fixed(top + 10)
      << "\">" << escape_html(mark.label) << "</text>";
}

// The legend's rows under the title; returns their height.
double draw_legend(std::ostringstream& out, const std::vector<Series>& series, int width) {
  double x = kLeft, y = kTitle + 10;
  bool any = false;
  for (const Series& line : series) {
    if (line.label.empty()) continue;
    const double length = 26 + kCharacter * static_cast<double>(line.label.size()) + 10;
    if (any && x + length > width - kRight) {
      x = kLeft;
      y += kLegendLine;
    }
    out << "<path class=\"line\" d=\"M" << fixed(x) << ',' << fixed(y - 4) << "h18\" stroke=\""
        << line.colour << '"' << (line.dashed ? " stroke-dasharray=\"5 4\"" : "")
        << "/><text class=\"label\" x=\"" << fixed(x + 23) << "\" y=\"" << fixed(y) << "\">"
        << escape_html(line.label) << "</text>";
    x += length;
    any = true;
  }
  return any ? y - kTitle + 4 : 0;
}

void draw_axes(
    std::ostringstream& out, const Axis& x, const Axis& y, const PlotOptions& options, double top) {
  const double bottom = options.height - kBottom, right = options.width - kRight;
  for (const double tick : y.ticks()) {
    out << "<path class=\"grid\" d=\"M" << kLeft << ',' << fixed(y.at(tick)) << "H" << right
        << "\"/>"
        << "<text class=\"tick\" text-anchor=\"end\" x=\"" << kLeft - 6 << "\" y=\""
        << fixed(y.at(tick) + 3.5) << "\">" << short_number(tick) << "</text>";
  }
  for (const double tick : x.ticks()) {
    out << "<path class=\"grid\" d=\"M" << fixed(x.at(tick)) << ',' << fixed(bottom) << "v4\"/>"
        << "<text class=\"tick\" text-anchor=\"middle\" x=\"" << fixed(x.at(tick)) << "\" y=\""
        << bottom + 16 << "\">" << short_number(tick) << "</text>";
  }
  out << "<path class=\"axis\" d=\"M" << kLeft << ',' << fixed(bottom) << "H" << right << "\"/>"
      << "<text class=\"label\" text-anchor=\"middle\" x=\"" << (kLeft + right) / 2 << "\" y=\""
      << options.height - 7 << "\">" << escape_html(options.x_label) << "</text>"
      << "<text class=\"label\" text-anchor=\"middle\" transform=\"translate(13,"
      << fixed((top + bottom) / 2) << ") rotate(-90)\">" << escape_html(options.y_label)
      << "</text>";
}

std::string open_svg(int width, int height, const std::string& title) {
  std::ostringstream out;
  out << "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"plot\" role=\"img\" viewBox=\"0 0 "
      << width << ' ' << height << "\" aria-label=\"" << escape_html(title) << "\">";
  return out.str();
}

}  // namespace

std::string line_plot(const std::vector<Series>& series, const PlotOptions& options) {
  std::ostringstream out;
  out << open_svg(options.width, options.height, options.title) << "<text class=\"title\" x=\""
      << kLeft << "\" y=\"16\">" << escape_html(options.title) << "</text>";
  Ranges ranges = ranges_of(series, options);
  if (ranges.x.empty()) {
    out << "<text class=\"label\" text-anchor=\"middle\" x=\"" << options.width / 2 << "\" y=\""
        << options.height / 2 << "\">nothing recorded</text></svg>";
    return out.str();
  }
  widen(ranges.y, options);
  if (ranges.x.high <= ranges.x.low) {
    ranges.x.low *= options.log_x ? 0.9 : 1;
    ranges.x.low -= options.log_x ? 0 : 0.5;
    ranges.x.high += 0.5;
  }
  std::vector<Series> named = series;  // in the legend, a band is a line of its colour
  for (const PlotBand& band : options.bands)
    named.push_back({band.label, {}, {}, band.colour, false, false, false});
  const double top = kTitle + 6 + draw_legend(out, named, options.width);
  const Axis x(ranges.x.low, ranges.x.high, kLeft, options.width - kRight, options.log_x);
  const Axis y(ranges.y.low, ranges.y.high, options.height - kBottom, top, options.log_y);
  draw_axes(out, x, y, options, top);
  for (const PlotBand& band : options.bands) draw_band(out, band, x, y);
  for (const PlotMark& mark : options.marks) draw_mark(out, mark, x, top, options.height - kBottom);
  for (const bool faint : {true, false}) {
    for (const Series& line : series) {
      if (line.faint == faint) draw_series(out, line, x, y);
    }
  }
  out << "</svg>";
  return out.str();
}

std::string share_bar(const std::vector<Share>& shares, const std::string& unit, int width) {
  double total = 0;
  for (const Share& share : shares) total += share.value;
  const int rows = (static_cast<int>(shares.size()) + 1) / 2;
  const int height = 40 + 20 * rows;
  std::ostringstream out;
  out << open_svg(width, height, "shares");
  double x = 0;
  for (size_t i = 0; i < shares.size(); ++i) {
    const double part = total > 0 ? shares[i].value / total : 0;
    out << "<rect x=\"" << fixed(x) << "\" y=\"2\" width=\""
        << fixed(std::max(part * width - 1, 0.0)) << "\" height=\"22\" rx=\"2\" fill=\""
        << series_colour(i) << "\"/>";
    x += part * width;
    // The legend has two columns.
    const double left = (i % 2) * (width / 2.0), y = 46 + 20.0 * static_cast<double>(i / 2);
    char percent[16];
    std::snprintf(percent, sizeof percent, "%.0f %%", 100 * part);
    out << "<rect x=\"" << fixed(left) << "\" y=\"" << fixed(y - 9)
        << "\" width=\"10\" height=\"10\" rx=\"2\" fill=\"" << series_colour(i)
        << "\"/><text class=\"label\" x=\"" << fixed(left + 16) << "\" y=\"" << fixed(y) << "\">"
        << escape_html(shares[i].label) << " · " << short_number(shares[i].value) << ' '
        << escape_html(unit) << " · " << percent << "</text>";
  }
  out << "</svg>";
  return out.str();
}

std::string series_colour(size_t index) {
  return "var(--c" + std::to_string(index % 8) + ")";
}

std::string layer_colour(size_t index, size_t count) {
  if (count <= 4) return series_colour(index);
  // Blue through magenta to amber: ordered, and readable on both pages at this lightness.
  const double share = static_cast<double>(index) / static_cast<double>(count - 1);
  char text[48];
  std::snprintf(text, sizeof text, "hsl(%.0f 70%% 55%%)", std::fmod(215 + 190 * share, 360.0));
  return text;
}

std::string plot_style() {
  return ":root{--c0:#2f6fdb;--c1:#d9622b;--c2:#1f9d6b;--c3:#a845b5;--c4:#b58900;--c5:#1695a8;--c6:"
         "#d23f5f;"
         "--c7:#6d7480;--ink:#1c2330;--muted:#667085;--grid:#e3e7ee;--null:#8a93a3}"
         "@media(prefers-color-scheme:dark){:root{--c0:#6ea3ff;--c1:#ff9a62;--c2:#4fd0a0;--c3:#"
         "d48be0;"
         "--c4:#e3bf4a;--c5:#56cbdc;--c6:#ff7f97;--c7:#a5adba;--ink:#e8ebf1;--muted:#9aa4b5;--grid:"
         "#2b3240;"
         "--null:#7e8899}}"
         ".plot{width:100%;height:auto;display:block;font-family:system-ui,sans-serif}"
         ".plot .title{font-size:13px;font-weight:600;fill:var(--ink)}"
         ".plot .label{font-size:11.5px;fill:var(--muted)}.plot "
         ".tick{font-size:10.5px;fill:var(--muted)}"
         ".plot .grid{stroke:var(--grid);stroke-width:1;fill:none}"
         ".plot .axis{stroke:var(--muted);stroke-width:1;fill:none}"
         ".plot .line{fill:none;stroke-width:1.8;stroke-linejoin:round}"
         ".plot .mark{stroke:var(--muted);stroke-width:1;stroke-dasharray:2 3;fill:none}"
         ".plot .band{stroke:none;opacity:.16}"
         ".plot .faint{stroke-width:1;opacity:.3}";
}

std::string standalone_svg(const std::string& svg) {
  const size_t inside = svg.find('>') + 1;
  return "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n" + svg.substr(0, inside) + "<style>" +
         plot_style() + "</style>" + svg.substr(inside) + "\n";
}

std::vector<double> smoothed(const std::vector<double>& values, double span) {
  const double keep = std::exp(-1.0 / std::max(span, 1e-3));
  std::vector<double> result;
  result.reserve(values.size());
  double sum = 0, weight = 0;
  for (const double value : values) {
    if (std::isfinite(value)) {
      sum = keep * sum + value;
      weight = keep * weight + 1;
    }
    result.push_back(weight > 0 ? sum / weight : value);
  }
  return result;
}

}  // namespace vmla::analysis
