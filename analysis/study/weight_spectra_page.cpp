#include <algorithm>

#include "analysis/page/html_text.h"
#include "analysis/page/plot_style.h"
#include "analysis/page/short_number.h"
#include "analysis/page/svg_plot.h"
#include "analysis/report/rank_plots.h"
#include "analysis/study/spectra_kinds.h"
#include "model/io/error.h"

namespace vmla::analysis {
namespace {

Series gaussian_look() {
  return {.label = "independent entries", .colour = kNullColour, .dashed = true};
}

// Of the layer in the middle, whose nulls stand for all: layers have one shape, and a permutation
// leaves next to nothing of what tells them apart.
const LayerSpectra& middle(const WeightSpectra& spectra) {
  return spectra.layers[spectra.layers.size() / 2];
}

std::string layer_name(const WeightSpectra& spectra, size_t i) {
  const size_t count = spectra.layers.size();
  return layer_label(i, count).empty() ? "" : formatted("layer {}", spectra.layers[i].layer);
}

std::string spectra_plot(const WeightSpectra& spectra, const SpectraKind& kind) {
  const MatrixSpectra& null = kind.of(middle(spectra));
  std::vector<Series> lines = {spectrum_line(gaussian_null(spectra, null), gaussian_look()),
                               spectrum_line(null.shuffled, shuffled_look())};
  for (size_t i = 0; i < spectra.layers.size(); ++i) {
    lines.push_back(spectrum_line(
        kind.of(spectra.layers[i]).values,
        {.label = layer_name(spectra, i), .colour = layer_colour(i, spectra.layers.size())}));
  }
  return spectrum_lines_plot(lines,
                             {.title = formatted("Spectrum of {}", kind.title), .least = 1e-5});
}

Series energy_line(const Spectrum& spectrum, Series look) {
  double total = 0, kept = 0;
  for (const double s : spectrum) total += s * s;
  look.x.push_back(0);
  look.y.push_back(0);
  for (size_t i = 0; i < spectrum.size(); ++i) {
    kept += spectrum[i] * spectrum[i];
    look.x.push_back(static_cast<double>(i + 1));
    look.y.push_back(total > 0 ? 100 * kept / total : 0);
  }
  return look;
}

std::string energy_plot(const WeightSpectra& spectra) {
  const MatrixSpectra& null = middle(spectra).kv;
  // A subspace of r dimensions without any preference keeps r / n of the energy on average.
  Series isotropic{.label = "random subspace",
                   .x = {0, static_cast<double>(null.values.size())},
                   .y = {0, 100},
                   .colour = kNullColour,
                   .dashed = true,
                   .faint = true};
  std::vector<Series> lines = {energy_line(gaussian_null(spectra, null), gaussian_look()),
                               std::move(isotropic)};
  for (size_t i = 0; i < spectra.layers.size(); ++i) {
    lines.push_back(energy_line(
        spectra.layers[i].kv.values,
        {.label = layer_name(spectra, i), .colour = layer_colour(i, spectra.layers.size())}));
  }
  return line_plot(lines,
                   {.title = "Energy of [W_K; W_V] in its first directions",
                    .x_label = "directions kept",
                    .y_label = "%",
                    .y_min = 0,
                    .y_max = 100});
}

std::string rank_plot(const WeightSpectra& spectra,
                      double EffectiveRank::* figure,
                      const std::string& title) {
  std::vector<Series> plot;
  for (const SpectraKind& kind : kSpectraKinds) {
    const std::string colour = series_colour(plot.size() / 2);
    Series line{.label = kind.title, .colour = colour, .markers = true};
    Series null{.label = formatted("{}, independent entries", kind.title),
                .colour = colour,
                .dashed = true,
                .faint = true};
    for (const LayerSpectra& layer : spectra.layers) {
      const MatrixSpectra& matrix = kind.of(layer);
      for (Series* series : {&line, &null}) series->x.push_back(static_cast<double>(layer.layer));
      line.y.push_back(effective_rank(matrix.values).*figure);
      null.y.push_back(effective_rank(spectra.gaussian.at({matrix.rows, matrix.columns})).*figure);
    }
    plot.push_back(std::move(line));
    plot.push_back(std::move(null));
  }
  return line_plot(plot, {.title = title, .x_label = "layer", .y_label = "rank", .y_min = 0});
}

std::string heads_plot(const WeightSpectra& spectra) {
  PlotBand band{.label = "lowest to highest head", .colour = series_colour(0)};
  Series mean{.label = "mean of heads", .colour = series_colour(0), .markers = true};
  Series null = gaussian_look();
  for (const LayerSpectra& layer : spectra.layers) {
    double least = 1e300, most = 0, sum = 0;
    for (const Spectrum& head : layer.heads) {
      const double rank = effective_rank(head).entropy_rank;
      least = std::min(least, rank);
      most = std::max(most, rank);
      sum += rank;
    }
    const auto x = static_cast<double>(layer.layer);
    const auto heads = static_cast<int64_t>(layer.heads.size());
    for (std::vector<double>* xs : {&band.x, &mean.x, &null.x}) xs->push_back(x);
    band.low.push_back(least);
    band.high.push_back(most);
    mean.y.push_back(sum / static_cast<double>(heads));
    null.y.push_back(effective_rank(spectra.gaussian.at({layer.kv.rows / heads, layer.kv.columns}))
                         .entropy_rank);
  }
  return line_plot({null, mean},
                   {.title = "Entropy rank of [W_K; W_V] of single heads",
                    .x_label = "layer",
                    .y_label = "rank",
                    .bands = {band},
                    .y_min = 0});
}

std::string rank_table(const WeightSpectra& spectra) {
  std::vector<Column<LayerSpectra>> columns = {
      {"", [](const LayerSpectra& layer) { return formatted("layer {}", layer.layer); }}};
  for (const SpectraKind& kind : kSpectraKinds) {
    columns.push_back({formatted("entropy rank {}", kind.head), [&](const LayerSpectra& layer) {
                         return short_number(effective_rank(kind.of(layer).values).entropy_rank);
                       }});
    columns.push_back(
        {"independent<br>entries", [&](const LayerSpectra& layer) {
           const MatrixSpectra& matrix = kind.of(layer);
           return short_number(
               effective_rank(spectra.gaussian.at({matrix.rows, matrix.columns})).entropy_rank);
         }});
    columns.push_back({"r<sub>0.99</sub>", [&](const LayerSpectra& layer) {
                         const Spectrum& values = kind.of(layer).values;
                         return formatted("{} of {}", effective_rank(values).r99, values.size());
                       }});
    columns.push_back({"above<br>the edge", [&](const LayerSpectra& layer) {
                         return formatted("{}", kind.of(layer).above_edge);
                       }});
  }
  return table_of(columns, spectra.layers);
}

}  // namespace

SpectraPage weight_spectra_page(const WeightSpectra& spectra, const std::string& source) {
  SpectraPage page;
  page.figures = {
      {"entropy_rank.svg",
       rank_plot(spectra, &EffectiveRank::entropy_rank, "Entropy rank by layer")},
      {"r99.svg", rank_plot(spectra, &EffectiveRank::r99_fractional, "99 %-energy rank by layer")},
      {"energy_kv.svg", energy_plot(spectra)}};
  if (!spectra.layers.front().heads.empty())
    page.figures.emplace_back("heads.svg", heads_plot(spectra));
  for (const SpectraKind& kind : kSpectraKinds)
    page.figures.emplace_back(formatted("spectrum_{}.svg", kind.name), spectra_plot(spectra, kind));
  std::vector<std::string> plots;
  for (const auto& [name, svg] : page.figures) plots.push_back(svg);
  const std::string meaning =
      "Raw weights, no gains, no biases; the joint matrix is what one shared latent would have to "
      "carry. The entropy rank is how many equal singular values would have the same entropy; "
      "r<sub>0.99</sub> is the least rank that holds 99 % of the energy Σs². Both say something "
      "only "
      "beside matrices without structure: of <i>independent entries</i> (normal, one draw), and "
      "the "
      "same matrix with its <i>entries permuted</i> (of the middle layer). <i>Above the edge</i> "
      "counts the singular values beyond σ(√m + √n), where those of a large matrix of independent "
      "entries end (Marchenko and Pastur).";
  page.html = html_page(
      {.title = "Key and value spectra",
       .subtitle = formatted("{} · {} layers", source, spectra.layers.size()),
       .body =
           html_section({.heading = "Spectra", .meaning = meaning, .content = plot_grid(plots)}) +
           html_section({.heading = "Ranks", .content = rank_table(spectra)})});
  return page;
}

}  // namespace vmla::analysis
