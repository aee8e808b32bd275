#include "analysis/report/rank_plots.h"

#include <algorithm>

#include "analysis/page/plot_style.h"
#include "model/io/error.h"

namespace vmla::analysis {
namespace {

constexpr size_t kMostNamedLayers = 8;
constexpr size_t kMostMarkers = 11;  // of a line; more would hide it
constexpr int kHeight = 270;

std::vector<double> steps_of(const RankLog& ranks) {
  return {ranks.steps().begin(), ranks.steps().end()};
}

}  // namespace

Series null_look() {
  return {.label = "random product", .colour = kNullColour, .dashed = true};
}

std::string layer_label(size_t layer, size_t count) {
  const bool named = count <= kMostNamedLayers || layer == 0 || layer + 1 == count;
  return named ? formatted("layer {}", layer) : "";
}

Series spectrum_line(const Spectrum& spectrum, Series look) {
  for (size_t i = 0; i < spectrum.size(); ++i) {
    look.x.push_back(static_cast<double>(i + 1));
    look.y.push_back(spectrum[i] / spectrum.front());
  }
  return look;
}

std::string spectrum_lines_plot(const std::vector<Series>& lines, const SpectrumPlot& what) {
  double least = 1;
  for (const Series& line : lines) {
    for (const double value : line.y) least = value > 0 ? std::min(least, value) : least;
  }
  return line_plot(lines,
                   {.title = what.title,
                    .x_label = "index i of the singular value",
                    .y_label = "s(i) / s(1)",
                    .log_y = true,
                    .y_min = std::max(0.8 * least, what.least),
                    .y_max = 1.15,
                    .height = what.height});
}

std::string last_spectra_plot(const RankLog& ranks, const std::string& title) {
  std::vector<Series> lines;
  if (!ranks.null().empty())
    lines.push_back(spectrum_line(ranks.null().front().spectrum, null_look()));
  const auto layers = static_cast<size_t>(ranks.num_layers());
  for (size_t i = 0; i < layers && !ranks.measurements().empty(); ++i) {
    lines.push_back(
        spectrum_line(ranks.measurements().back()[i].spectrum,
                      {.label = layer_label(i, layers), .colour = layer_colour(i, layers)}));
  }
  return spectrum_lines_plot(lines, {.title = title, .least = 1e-6, .height = kHeight});
}

std::string layer_rank_plot(const RankLog& ranks, const LayerPlot& what) {
  std::vector<Series> plot;
  const auto layers = static_cast<size_t>(ranks.num_layers());
  for (size_t layer = 0; layer < layers; ++layer) {
    Series line{.label = layer_label(layer, layers),
                .x = steps_of(ranks),
                .colour = layer_colour(layer, layers),
                .markers = ranks.steps().size() <= kMostMarkers};
    for (const auto& measurement : ranks.measurements())
      line.y.push_back(measurement[layer].effective.*what.figure);
    plot.push_back(std::move(line));
  }
  if (!ranks.null().empty() && !ranks.steps().empty()) {
    double mean = 0;
    for (const LayerRank& layer : ranks.null())
      mean += layer.effective.*what.figure / static_cast<double>(ranks.null().size());
    Series line = null_look();
    line.x = {steps_of(ranks).front(), steps_of(ranks).back()};
    line.y = {mean, mean};
    plot.push_back(std::move(line));
  }
  return line_plot(
      plot, {.title = what.title, .x_label = "step", .y_label = what.y_label, .height = kHeight});
}

}  // namespace vmla::analysis
