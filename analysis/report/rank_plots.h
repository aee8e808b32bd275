#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "analysis/page/svg_plot.h"
#include "analysis/rank/rank_log.h"

/// Plots of ranks and spectra, a line for each layer.
namespace vmla::analysis {

/// The label of layer `layer` of `count`: "layer 3", or "" in a model of many layers, whose legend
/// names the first and the last alone.
std::string layer_label(size_t layer, size_t count);

/// How the nulls (RankNulls) are drawn, still without points: the random product, the truncated SVD
/// of a random matrix, the entries permuted, and random rows of the layer's lengths.
Series null_look();
Series truncated_look();
Series shuffled_look();
Series gaussian_rows_look();

/// A spectrum as a line of the given look: s(i) / s(1) over i = 1, 2, ...
Series spectrum_line(const Spectrum& spectrum, Series look);

/// A plot of such lines on a logarithmic axis that ends at `least`, so that dead directions do not
/// stretch it over many empty decades.
struct SpectrumPlot {
  std::string title;
  double least = 0;
  int height = PlotOptions{}.height;
};
std::string spectrum_lines_plot(const std::vector<Series>& lines, const SpectrumPlot& what);

/// The last measurement's spectra of all layers beside the first layer's nulls.
std::string last_spectra_plot(const RankLog& ranks, const std::string& title);

/// One figure of every layer's rank over the steps, and its nulls' means over the layers.
struct LayerPlot {
  std::string title;
  std::string y_label;
  double EffectiveRank::* figure;
  /// Which ranks; none: the weights'.
  std::vector<LayerRank> RankExtras::* of = nullptr;
};
std::string layer_rank_plot(const RankLog& ranks, const LayerPlot& what);

/// The share of the energy in the first `rank` values, likewise.
std::string energy_plot(const RankLog& ranks, int64_t rank);

/// The overlap of each layer's down-projection with its start, over the steps, beside that of a
/// random subspace.
std::string overlap_plot(const RankLog& ranks);

}  // namespace vmla::analysis
