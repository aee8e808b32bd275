#include "analysis/report/report_plots.h"

#include <algorithm>
#include <cmath>

#include "analysis/page/plot_style.h"

namespace vmla::analysis {
namespace {

constexpr int kHeight = 240;

// A moving mean over a fortieth of the curve.
double smoothing_span(const MetricSeries& series) {
  return std::max(2.0, static_cast<double>(series.values.size()) / 40);
}

}  // namespace

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

void add_noisy(std::vector<Series>& plot, const MetricSeries& series, const Series& style) {
  plot.push_back({.x = series.steps, .y = series.values, .colour = style.colour, .faint = true});
  Series mean = style;
  mean.x = series.steps;
  mean.y = smoothed(series.values, smoothing_span(series));
  plot.push_back(std::move(mean));
}

std::string metric_plot(const RunContents& run, const MetricPlot& what) {
  std::vector<Series> plot;
  if (const MetricSeries* series = run.metric(what.key)) {
    if (what.noisy) {
      add_noisy(plot, *series, {.colour = series_colour(0)});
    } else {
      plot.push_back({.x = series->steps, .y = series->values, .colour = series_colour(0)});
    }
  }
  return line_plot(plot,
                   {.title = what.title,
                    .x_label = "step",
                    .y_label = what.y_label,
                    .log_y = what.log_y,
                    .height = kHeight});
}

std::string player_plot(const RunContents& run, const PlayerPlot& what) {
  std::vector<Series> plot;
  size_t colour = 0;
  for (const auto& [name, series] : run.metrics) {
    if (name != what.key && !name.starts_with(what.key + "_")) continue;
    const std::string player = name == what.key ? "generator" : name.substr(what.key.size() + 1);
    add_noisy(plot, series, {.label = player, .colour = series_colour(colour)});
    colour += colour == 0 ? 2 : 1;  // the second colour is that of the validation
  }
  const bool one_player = plot.size() == 2 && what.validation_key.empty();
  if (one_player) plot.back().label.clear();  // it needs no name
  if (!what.validation_key.empty()) {
    if (const MetricSeries* points = run.metric(what.validation_key)) {
      plot.push_back({.label = "validation",
                      .x = points->steps,
                      .y = points->values,
                      .colour = series_colour(1),
                      .markers = true});
    }
  }
  return line_plot(plot,
                   {.title = what.title,
                    .x_label = "step",
                    .y_label = what.y_label,
                    .log_y = true,
                    .height = kHeight});
}

}  // namespace vmla::analysis
