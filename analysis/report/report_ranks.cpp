#include <algorithm>
#include <cmath>

#include "analysis/page/html_text.h"
#include "analysis/page/short_number.h"
#include "analysis/page/svg_plot.h"
#include "analysis/report/report_sections.h"
#include "model/io/error.h"

namespace vmla::analysis {
namespace {

std::vector<double> steps_of(const RankLog& ranks) {
  return {ranks.steps().begin(), ranks.steps().end()};
}

// One line a layer of some figure of its rank, the null's dashed.
template <class Read>
std::string layer_plot(const RankLog& ranks,
                       const std::string& title,
                       const std::string& label,
                       const Read& read) {
  std::vector<Series> plot;
  const auto layers = static_cast<size_t>(ranks.num_layers());
  for (size_t layer = 0; layer < layers; ++layer) {
    Series line{formatted("layer {}", layer),
                steps_of(ranks),
                {},
                layer_colour(layer, layers),
                false,
                false,
                ranks.steps().size() < 12};
    if (layers > 8 && layer != 0 && layer + 1 != layers)
      line.label.clear();  // the scale's ends suffice
    for (const auto& measurement : ranks.measurements()) line.y.push_back(read(measurement[layer]));
    plot.push_back(std::move(line));
  }
  if (!ranks.null().empty() && !ranks.steps().empty()) {
    double null = 0;
    for (const LayerRank& layer : ranks.null())
      null += read(layer) / static_cast<double>(ranks.null().size());
    plot.push_back({"random product",
                    {steps_of(ranks).front(), steps_of(ranks).back()},
                    {null, null},
                    "var(--null)",
                    true,
                    false,
                    false});
  }
  PlotOptions options;
  options.title = title;
  options.x_label = "step";
  options.y_label = label;
  options.height = 270;
  return line_plot(plot, options);
}

std::string rank_table(const RankLog& ranks) {
  const auto cell = [](double value) { return short_number(value); };
  std::vector<std::vector<std::string>> rows;
  const auto& first = ranks.measurements().front();
  const auto& last = ranks.measurements().back();
  for (size_t i = 0; i < last.size(); ++i) {
    rows.push_back({formatted("layer {}", i),
                    formatted("{}", last[i].rank),
                    cell(first[i].effective.r99_fractional),
                    cell(last[i].effective.r99_fractional),
                    percent(last[i].effective.r99_fractional / static_cast<double>(last[i].rank)),
                    i < ranks.null().size() ? cell(ranks.null()[i].effective.r99_fractional) : "–",
                    cell(last[i].effective.stable_rank),
                    cell(last[i].effective.entropy_rank)});
  }
  return table({"",
                "budget d<sub>c</sub>",
                "r<sub>0.99</sub> at first",
                "r<sub>0.99</sub> at last",
                "of the budget",
                "random product",
                "stable rank",
                "entropy rank"},
               rows);
}

}  // namespace

std::string spectrum_plot(const RankLog& ranks, const std::string& title) {
  std::vector<Series> plot;
  const auto add = [&](const LayerRank& layer, Series line) {
    for (size_t i = 0; i < layer.spectrum.size(); ++i) {
      line.x.push_back(static_cast<double>(i + 1));
      line.y.push_back(layer.spectrum[i] / layer.spectrum.front());
    }
    plot.push_back(std::move(line));
  };
  if (!ranks.null().empty()) {
    add(ranks.null().front(), {"random product", {}, {}, "var(--null)", true, false, false});
  }
  const auto layers = static_cast<size_t>(ranks.num_layers());
  for (size_t i = 0; i < layers && !ranks.measurements().empty(); ++i) {
    const bool in_legend = layers <= 8 || i == 0 || i + 1 == layers;
    add(ranks.measurements().back()[i],
        {in_legend ? formatted("layer {}", i) : "",
         {},
         {},
         layer_colour(i, layers),
         false,
         false,
         false});
  }
  PlotOptions options;
  options.title = title;
  options.x_label = "index i of the singular value";
  options.y_label = "s(i) / s(1)";
  options.log_y = true;
  options.height = 270;
  // Dead directions would stretch the axis over many empty decades.
  double least = 1;
  for (const Series& line : plot) {
    for (const double value : line.y) least = value > 0 ? std::min(least, value) : least;
  }
  options.y_min = std::max(least * 0.8, 1e-6);
  options.y_max = 1.15;
  return line_plot(plot, options);
}

std::string rank_section(const RunContents& run) {
  if (!run.ranks || run.ranks->steps().empty()) {
    const bool dense = run.setting("model.attention") != "mla";
    return section(
        "Effective rank",
        "",
        absence(dense ? "A dense model has no latent bottleneck, so there is no rank to track."
                      : "rank.h5 is not there: no rank has been measured yet (rank.every)."));
  }
  const RankLog& ranks = *run.ranks;
  const double first = mean_rank_share(ranks, 0),
               last = mean_rank_share(ranks, ranks.steps().size() - 1);
  const double null = null_rank_share(ranks);
  const std::string meaning = formatted(
      "r<sub>0.99</sub> is the least rank that holds 99 % of the energy of the map kv_b · "
      "diag(gain) · kv_a, shown with its fraction. On average it went from {} to {} of the "
      "budget{}. Near the random product means that the bottleneck, not the data, sets the rank.",
      percent(first),
      percent(last),
      null > 0 ? formatted("; a random product of the same shape has {}", percent(null)) : "");
  const auto r99 = [](const LayerRank& layer) { return layer.effective.r99_fractional; };
  const auto stable = [](const LayerRank& layer) { return layer.effective.stable_rank; };
  const auto entropy = [](const LayerRank& layer) { return layer.effective.entropy_rank; };
  return section("Effective rank",
                 meaning,
                 plot_grid({layer_plot(ranks, "99 %-energy rank", "rank", r99),
                            spectrum_plot(ranks, "Spectra at the last step"),
                            layer_plot(ranks, "Stable rank", "Σs²/s₁²", stable),
                            layer_plot(ranks, "Entropy rank", "exp H", entropy)}) +
                     "<h3></h3>" + rank_table(ranks));
}

}  // namespace vmla::analysis
