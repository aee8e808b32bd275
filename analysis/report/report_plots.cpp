#include "analysis/report/report_plots.h"

#include <algorithm>
#include <cmath>

namespace vmla::analysis {
namespace {

double smoothing_span(const MetricSeries& series) {
  return std::max(2.0, static_cast<double>(series.values.size()) / 40);
}

}  // namespace

void add_noisy(std::vector<Series>& plot,
               const MetricSeries& series,
               const std::string& label,
               const std::string& colour) {
  plot.push_back({"", series.steps, series.values, colour, false, true, false});
  plot.push_back({label,
                  series.steps,
                  smoothed(series.values, smoothing_span(series)),
                  colour,
                  false,
                  false,
                  false});
}

std::string metric_plot(const RunContents& run,
                        const std::string& key,
                        const std::string& title,
                        bool log_y,
                        bool noisy) {
  std::vector<Series> plot;
  if (const MetricSeries* series = run.metric(key)) {
    if (noisy) {
      add_noisy(plot, *series, "", series_colour(0));
    } else {
      plot.push_back({"", series->steps, series->values, series_colour(0), false, false, false});
    }
  }
  PlotOptions options;
  options.title = title;
  options.x_label = "step";
  options.log_y = log_y;
  options.height = 240;
  return line_plot(plot, options);
}

std::string player_plot(const RunContents& run,
                        const std::string& key,
                        const std::string& title,
                        const std::string& settled) {
  std::vector<Series> plot;
  size_t colour = 0;
  for (const auto& [name, series] : run.metrics) {
    if (name != key && !name.starts_with(key + "_")) continue;
    const std::string player = name == key ? "generator" : name.substr(key.size() + 1);
    add_noisy(plot, series, player, series_colour(colour));
    colour += colour == 0 ? 2 : 1;  // the second colour is the settled figure's
  }
  if (plot.size() == 2 && settled.empty()) plot.back().label.clear();  // one player needs no name
  if (const MetricSeries* points = settled.empty() ? nullptr : run.metric(settled)) {
    plot.push_back(
        {"validation", points->steps, points->values, series_colour(1), false, false, true});
  }
  PlotOptions options;
  options.title = title;
  options.x_label = "step";
  options.log_y = true;
  options.height = 240;
  return line_plot(plot, options);
}

}  // namespace vmla::analysis
