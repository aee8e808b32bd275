#include "analysis/report/rank_plots.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <utility>

#include "analysis/page/plot_style.h"
#include "analysis/rank/subspace.h"
#include "model/io/error.h"

namespace vmla::analysis {
namespace {

constexpr size_t kMostNamedLayers = 8;
constexpr size_t kMostMarkers = 11;  // of a line; more would hide it
constexpr int kHeight = 270;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

std::vector<double> steps_of(const RankLog& ranks) {
  return {ranks.steps().begin(), ranks.steps().end()};
}

std::vector<std::pair<const std::vector<LayerRank>*, Series>> nulls_of(const RankLog& ranks) {
  return {{&ranks.nulls().product, null_look()},
          {&ranks.nulls().truncated, truncated_look()},
          {&ranks.nulls().shuffled, shuffled_look()},
          {&ranks.nulls().gaussian, gaussian_rows_look()}};
}

// A line for each layer over the steps.
std::vector<Series> layer_lines(const RankLog& ranks,
                                const std::function<double(size_t point, size_t layer)>& value) {
  std::vector<Series> lines;
  const auto layers = static_cast<size_t>(ranks.num_layers());
  for (size_t layer = 0; layer < layers; ++layer) {
    Series line{.label = layer_label(layer, layers),
                .x = steps_of(ranks),
                .colour = layer_colour(layer, layers),
                .markers = ranks.steps().size() <= kMostMarkers};
    for (size_t point = 0; point < ranks.steps().size(); ++point)
      line.y.push_back(value(point, layer));
    lines.push_back(std::move(line));
  }
  return lines;
}

// One figure of every layer over the steps, and its mean over the layers of each null.
std::string figure_plot(const RankLog& ranks,
                        const LayerPlot& what,
                        const std::function<double(const LayerRank&)>& figure) {
  std::vector<Series> plot = layer_lines(ranks, [&](size_t point, size_t layer) {
    const std::vector<LayerRank>& layers =
        what.of != nullptr ? ranks.extras()[point].*what.of : ranks.measurements()[point];
    return layers.empty() ? kNaN : figure(layers[layer]);
  });
  // Latents of real clips have no null of their own: their tokens are no independent draws.
  if (what.of == nullptr && !ranks.steps().empty()) {
    for (auto [null, line] : nulls_of(ranks)) {
      if (null->empty()) continue;
      double mean = 0;
      for (const LayerRank& layer : *null)
        mean += figure(layer) / static_cast<double>(null->size());
      line.x = {steps_of(ranks).front(), steps_of(ranks).back()};
      line.y = {mean, mean};
      plot.push_back(std::move(line));
    }
  }
  return line_plot(
      plot, {.title = what.title, .x_label = "step", .y_label = what.y_label, .height = kHeight});
}

}  // namespace

Series null_look() {
  return {.label = "random product", .colour = kNullColour, .dashed = true};
}

Series truncated_look() {
  return {.label = "truncated SVD of noise", .colour = kNullColour};
}

Series shuffled_look() {
  return {.label = "entries permuted", .colour = kNullColour, .faint = true};
}

Series gaussian_rows_look() {
  return {.label = "Gaussian, rows as long", .colour = kNullColour, .dashed = true};
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
  for (const auto& [null, look] : nulls_of(ranks)) {
    if (!null->empty()) lines.push_back(spectrum_line(null->front().spectrum, look));
  }
  const auto layers = static_cast<size_t>(ranks.num_layers());
  for (size_t i = 0; i < layers && !ranks.measurements().empty(); ++i) {
    lines.push_back(
        spectrum_line(ranks.measurements().back()[i].spectrum,
                      {.label = layer_label(i, layers), .colour = layer_colour(i, layers)}));
  }
  return spectrum_lines_plot(lines, {.title = title, .least = 1e-6, .height = kHeight});
}

std::string layer_rank_plot(const RankLog& ranks, const LayerPlot& what) {
  return figure_plot(
      ranks, what, [&](const LayerRank& layer) { return layer.effective.*what.figure; });
}

std::string energy_plot(const RankLog& ranks, int64_t rank) {
  const LayerPlot what{.title = formatted("Energy in the first {} singular values", rank),
                       .y_label = "%",
                       .figure = nullptr};
  return figure_plot(
      ranks, what, [&](const LayerRank& layer) { return 100 * energy_at(layer.spectrum, rank); });
}

std::string overlap_plot(const RankLog& ranks) {
  std::vector<Series> plot = layer_lines(ranks, [&](size_t point, size_t layer) {
    const std::vector<Spectrum>& cosines = ranks.extras()[point].cosines;
    return cosines.empty() ? kNaN : 100 * subspace_overlap(cosines[layer]);
  });
  const std::vector<double>& random = ranks.nulls().isotropic_overlap;
  if (!random.empty() && !ranks.steps().empty()) {
    double mean = 0;
    for (const double share : random) mean += 100 * share / static_cast<double>(random.size());
    plot.push_back({.label = "random subspace",
                    .x = {steps_of(ranks).front(), steps_of(ranks).back()},
                    .y = {mean, mean},
                    .colour = kNullColour,
                    .dashed = true});
  }
  return line_plot(plot,
                   {.title = "Down-projection's rows in the space of their start",
                    .x_label = "step",
                    .y_label = "%",
                    .y_min = 0,
                    .y_max = 101,
                    .height = kHeight});
}

}  // namespace vmla::analysis
