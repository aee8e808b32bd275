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

/// How the null baseline (RankTracker::null_baseline) is drawn, still without points.
Series null_look();

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

/// The last measurement's spectra of all layers beside the null baseline's.
std::string last_spectra_plot(const RankLog& ranks, const std::string& title);

/// One figure of every layer's rank over the steps, and the null baseline's mean over the layers.
struct LayerPlot {
  std::string title;
  std::string y_label;
  double EffectiveRank::* figure;
};
std::string layer_rank_plot(const RankLog& ranks, const LayerPlot& what);

}  // namespace vmla::analysis
