#include "analysis/page/plot_axis.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <set>

#include "analysis/page/short_number.h"

namespace vmla::analysis {
namespace {

PlotRanges data_ranges(const std::vector<Series>& series, const PlotOptions& options) {
  PlotRanges ranges;
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

// Room above and below, 6 % of the height; a flat line gets a height of its own.
void widen_y(Range& y, const PlotOptions& options) {
  constexpr double kRoom = 0.06;
  if (options.log_y) {
    const double room = std::max(std::pow(y.high / y.low, kRoom), 1.1);
    y.low /= room;
    y.high *= room;
  } else {
    const double room =
        y.high > y.low ? kRoom * (y.high - y.low) : std::max(0.1 * std::abs(y.high), 1e-6);
    y.low -= room;
    y.high += room;
  }
  if (options.y_min) y.low = *options.y_min;
  if (options.y_max) y.high = *options.y_max;
  if (y.high <= y.low) y.high = y.low + 1;
}

// A single step gets a width; otherwise lines reach both edges.
void widen_x(Range& x, const PlotOptions& options) {
  if (x.high > x.low) return;
  if (options.log_x) {
    x.low *= 0.9;
  } else {
    x.low -= 0.5;
  }
  x.high += 0.5;
}

}  // namespace

void Range::add(double value) {
  low = std::min(low, value);
  high = std::max(high, value);
}

PlotRanges ranges_of(const std::vector<Series>& series, const PlotOptions& options) {
  PlotRanges ranges = data_ranges(series, options);
  if (ranges.x.empty()) return ranges;
  widen_x(ranges.x, options);
  widen_y(ranges.y, options);
  return ranges;
}

bool Axis::can_show(double value) const {
  return std::isfinite(value) && (!logarithmic_ || value > 0);
}

double Axis::at(double value) const {
  const auto [low, high] = values_;
  const double share =
      logarithmic_ ? std::log(value / low) / std::log(high / low) : (value - low) / (high - low);
  return from_ + std::clamp(share, 0.0, 1.0) * (to_ - from_);
}

// A logarithmic axis of less than a decade may hold no power of ten: then it gets round steps.
std::vector<double> Axis::ticks() const {
  if (!logarithmic_) return steps();
  std::vector<double> ticks = decades();
  return ticks.size() < 2 ? steps() : ticks;
}

// Multiples of 1, 2 or 5 times a power of ten, four to eight of them.
std::vector<double> Axis::steps() const {
  const double raw = (values_.high - values_.low) / 5;
  const double power = std::pow(10.0, std::floor(std::log10(raw)));
  const double digit = raw / power;
  const double step = power * (digit < 1.5 ? 1 : digit < 3.5 ? 2 : digit < 7.5 ? 5 : 10);
  const double slack = 1e-9;  // in steps: an end that rounding has moved still gets its tick
  std::vector<double> ticks;
  for (double k = std::ceil(values_.low / step - slack); k * step <= values_.high + slack * step;
       ++k) {
    ticks.push_back(k * step);
  }
  return ticks;
}

// Powers of ten, not every one where there are more than eight; 2 and 5 times them as well where
// there are fewer than three.
std::vector<double> Axis::decades() const {
  std::vector<double> ticks;
  const double span = std::log10(values_.high / values_.low);
  const int every = span > 8 ? static_cast<int>(span / 5) : 1;
  const int first = static_cast<int>(std::floor(std::log10(values_.low)));
  for (int k = first; k <= first + static_cast<int>(span) + 2; k += every) {
    for (const double digit : {1.0, 2.0, 5.0}) {
      const double tick = digit * std::pow(10.0, k);
      const bool inside = tick >= values_.low * 0.999 && tick <= values_.high * 1.001;
      if (inside && (digit == 1 || span < 2.5)) ticks.push_back(tick);
    }
  }
  return ticks;
}

std::vector<std::string> tick_labels(const std::vector<double>& ticks) {
  constexpr int kMostDigits = 15;  // of a double
  std::vector<std::string> labels;
  for (const double tick : ticks) labels.push_back(short_number(tick));
  const auto differ = [&] {
    return std::set<std::string>(labels.begin(), labels.end()).size() == labels.size();
  };
  for (int digits = 4; digits <= kMostDigits && !differ(); ++digits) {
    for (size_t i = 0; i < ticks.size(); ++i) {
      std::array<char, 32> text{};
      std::snprintf(text.data(), text.size(), "%.*g", digits, ticks[i]);
      labels[i] = text.data();
    }
  }
  return labels;
}

}  // namespace vmla::analysis
