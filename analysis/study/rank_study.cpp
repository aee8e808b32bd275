#include "analysis/study/rank_study.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "analysis/page/html_text.h"
#include "analysis/page/plot_style.h"
#include "analysis/page/svg_plot.h"
#include "analysis/rank/rank_log.h"
#include "analysis/rank/subspace.h"
#include "analysis/report/rank_plots.h"
#include "model/io/atomic_file.h"
#include "model/io/error.h"

namespace vmla::analysis {
namespace {

// One run's measurements.
struct RankSeries {
  std::string name;
  RankLog log;
};

// The points of each run, by step; runs in the order of their earliest points. UserError for a step
// that comes twice or has another number of layers.
std::vector<RankSeries> by_run(std::vector<RankPoint> points) {
  std::ranges::stable_sort(points, {}, &RankPoint::step);
  std::vector<RankSeries> series;
  for (RankPoint& point : points) {
    auto place = std::ranges::find(series, point.series, &RankSeries::name);
    if (place == series.end()) {
      place = series.insert(series.end(), {point.series, RankLog(point.init)});
    }
    RankLog& log = place->log;
    if (!log.steps().empty() && log.steps().back() == point.step) {
      fail_user("{}: step {} was given twice", point.series, point.step);
    }
    if (!log.steps().empty() && log.num_layers() != static_cast<int64_t>(point.layers.size())) {
      fail_user("{}: step {} has {} layers, an earlier one {}",
                point.series,
                point.step,
                point.layers.size(),
                log.num_layers());
    }
    log.set_nulls(std::move(point.nulls));  // the last point's stay
    log.append(point.step, std::move(point.layers), std::move(point.extras));
  }
  return series;
}

// A figure of an entry of a list that may be empty, for a cell of the CSV.
std::string cell(const std::vector<LayerRank>& list, size_t layer, double EffectiveRank::* figure) {
  return layer < list.size() ? formatted("{:.9g}", list[layer].effective.*figure) : "";
}

std::string csv_row(const RankSeries& series, size_t point, size_t layer) {
  const RankLog& log = series.log;
  const LayerRank& rank = log.measurements()[point][layer];
  const RankExtras& extras = log.extras()[point];
  constexpr auto kEntropy = &EffectiveRank::entropy_rank;
  constexpr auto kR99 = &EffectiveRank::r99_fractional;
  std::string row = formatted("{},{},{},{},{},{:.9g},{},{:.9g},{:.9g}",
                              series.name,
                              log.init(),
                              log.steps()[point],
                              layer,
                              rank.rank,
                              rank.effective.entropy_rank,
                              rank.effective.r99,
                              rank.effective.r99_fractional,
                              rank.effective.stable_rank);
  for (const auto* null : {&log.nulls().product, &log.nulls().truncated, &log.nulls().shuffled})
    row += "," + cell(*null, layer, kEntropy) + "," + cell(*null, layer, kR99);
  for (const auto* measured : {&extras.latents, &extras.content})
    row += "," + cell(*measured, layer, kEntropy) + "," + cell(*measured, layer, kR99);
  const bool turned = layer < extras.cosines.size();
  row += "," + (turned ? formatted("{:.9g}", subspace_overlap(extras.cosines[layer])) : "");
  row += "," + (turned ? formatted("{:.9g}", extras.cosines[layer].back()) : "");
  return row + "\n";
}

std::string csv_text(const std::vector<RankSeries>& series) {
  std::string csv = "series,init,step,layer,rank,entropy_rank,r99,r99_fractional,stable_rank";
  for (const char* what : {"null", "truncated", "shuffled", "latent", "content"})
    csv += formatted(",{}_entropy_rank,{}_r99_fractional", what, what);
  csv += ",subspace_overlap,least_cosine\n";
  for (const RankSeries& s : series) {
    for (size_t i = 0; i < s.log.steps().size(); ++i) {
      for (size_t layer = 0; layer < s.log.measurements()[i].size(); ++layer)
        csv += csv_row(s, i, layer);
    }
  }
  return csv;
}

// A figure of every layer in per cent of its budget, as a line of the given look over the layers.
Series share_line(const std::vector<LayerRank>& layers,
                  double EffectiveRank::* figure,
                  Series look) {
  for (size_t layer = 0; layer < layers.size(); ++layer) {
    look.x.push_back(static_cast<double>(layer));
    look.y.push_back(100 * layers[layer].effective.*figure /
                     static_cast<double>(layers[layer].rank));
  }
  return look;
}

// By layer at each series' last step: readable for one checkpoint as for many.
std::string layer_plot(const std::vector<RankSeries>& series,
                       double EffectiveRank::* figure,
                       const std::string& name) {
  std::vector<Series> plot;
  for (size_t s = 0; s < series.size(); ++s) {
    const RankLog& log = series[s].log;
    plot.push_back(
        share_line(log.measurements().back(),
                   figure,
                   {.label = series[s].name, .colour = series_colour(s), .markers = true}));
    for (auto [null, look] : {std::pair(&log.nulls().product, null_look()),
                              std::pair(&log.nulls().truncated, truncated_look()),
                              std::pair(&log.nulls().shuffled, shuffled_look())}) {
      if (s > 0) look.label.clear();  // once in the legend
      plot.push_back(share_line(*null, figure, std::move(look)));
    }
  }
  return line_plot(
      plot,
      {.title = name + " of the budget, by layer, last step", .x_label = "layer", .y_label = "%"});
}

std::string step_plot(const std::vector<RankSeries>& series,
                      double EffectiveRank::* figure,
                      const std::string& name) {
  std::vector<Series> plot;
  for (size_t s = 0; s < series.size(); ++s) {
    const RankLog& log = series[s].log;
    Series line{.label = series[s].name,
                .x = {log.steps().begin(), log.steps().end()},
                .colour = series_colour(s),
                .markers = true};
    for (const auto& layers : log.measurements())
      line.y.push_back(100 * rank_share(layers, figure));
    plot.push_back(std::move(line));
  }
  return line_plot(
      plot, {.title = name + " of the budget, mean of layers", .x_label = "step", .y_label = "%"});
}

// What the checkpoints' latents and subspaces are like, where that was measured.
void add_extra_plots(const RankSeries& series, std::vector<std::string>& plots) {
  const RankExtras& last = series.log.extras().back();
  if (!last.latents.empty()) {
    const auto line = [&](const std::vector<LayerRank>& layers, const char* label, size_t colour) {
      return share_line(layers,
                        &EffectiveRank::entropy_rank,
                        {.label = label, .colour = series_colour(colour), .markers = true});
    };
    plots.push_back(line_plot({line(series.log.measurements().back(), "weights", 0),
                               line(last.latents, "latents of real clips", 1),
                               line(last.content, "their keys and values", 2)},
                              {.title = "Entropy rank of the budget · " + series.name,
                               .x_label = "layer",
                               .y_label = "%",
                               .y_min = 0}));
  }
  if (!last.cosines.empty()) plots.push_back(overlap_plot(series.log));
}

void check_layer(const LatentProjections& layer, int64_t index, const std::string& source) {
  const bool fits = layer.kv_b.dim() == 2 && layer.kv_a.dim() == 2 && layer.kv_gain.dim() == 1 &&
                    layer.kv_b.size(1) == layer.kv_gain.size(0) &&
                    layer.kv_a.size(0) >= layer.kv_gain.size(0);
  if (!fits) {
    fail_user(
        "{}: the latent projections of layer {} do not fit together: kv_b_proj {}, "
        "kv_a_layernorm {}, kv_a_proj_with_mqa {}",
        source,
        index,
        layer.kv_b.sizes(),
        layer.kv_gain.sizes(),
        layer.kv_a.sizes());
  }
  for (const at::Tensor* tensor : {&layer.kv_b, &layer.kv_gain, &layer.kv_a}) {
    if (!tensor->isfinite().all().item<bool>())
      fail_user("{}: a latent projection of layer {} holds NaN or infinity", source, index);
  }
}

}  // namespace

std::vector<LatentProjections> latent_layers(const model::TensorMap& tensors,
                                             const std::string& source) {
  std::vector<LatentProjections> layers;
  for (int64_t i = 0;; ++i) {
    const std::string prefix = formatted("blocks.{}.self_attn.", i);
    if (!tensors.contains(prefix + "kv_b_proj.weight")) break;
    const auto get = [&](const char* name) {
      const auto found = tensors.find(prefix + name);
      if (found == tensors.end()) fail_user("{}: the tensor {}{} is missing", source, prefix, name);
      return found->second;
    };
    LatentProjections layer{.kv_b = get("kv_b_proj.weight"),
                            .kv_gain = get("kv_a_layernorm.weight"),
                            .kv_a = get("kv_a_proj_with_mqa.weight")};
    check_layer(layer, i, source);
    layers.push_back(std::move(layer));
  }
  if (layers.empty()) {
    fail_user(
        "{}: has no latent attention (no tensor blocks.0.self_attn.kv_b_proj.weight); for a dense "
        "model use `vmla analyze spectrum`",
        source);
  }
  return layers;
}

void write_rank_study(std::vector<RankPoint> points, const std::filesystem::path& out) {
  TORCH_CHECK(!points.empty(), "a rank study needs a checkpoint");
  std::filesystem::create_directories(out);
  const std::vector<RankSeries> series = by_run(std::move(points));
  series.front().log.write(out / "rank.h5");
  if (series.size() > 1) {
    for (const RankSeries& s : series) {
      std::filesystem::create_directories(out / s.name);
      s.log.write(out / s.name / "rank.h5");
    }
  }
  io::write_file_atomically(out / "rank.csv", csv_text(series));
  constexpr auto kEntropy = &EffectiveRank::entropy_rank;
  constexpr auto kR99 = &EffectiveRank::r99_fractional;
  std::vector<std::string> plots = {layer_plot(series, kEntropy, "Entropy rank"),
                                    step_plot(series, kEntropy, "Entropy rank"),
                                    layer_plot(series, kR99, "99 %-energy rank"),
                                    step_plot(series, kR99, "99 %-energy rank")};
  io::write_file_atomically(out / "rank.svg", standalone_svg(plots.front()));
  for (const RankSeries& s : series) {
    plots.push_back(last_spectra_plot(
        s.log, formatted("Spectra at step {} · {}", s.log.steps().back(), s.name)));
    add_extra_plots(s, plots);
  }
  const std::string meaning =
      "Of the map kv_b · diag(gain) · kv_a, without biases: the entropy rank, how many equal "
      "singular "
      "values would have the same entropy, and the least rank that holds 99 % of the energy, with "
      "its "
      "fraction. Grey are matrices without structure of the same shape: a product of random ones "
      "(dashed), the truncated SVD of one, and these weights with the entries of both factors "
      "permuted (pale). A rank near them comes from the shapes, not from training.";
  const std::string subtitle = series.size() == 1 ? "1 run" : formatted("{} runs", series.size());
  io::write_file_atomically(out / "rank.html",
                            html_page({.title = "Effective rank",
                                       .subtitle = subtitle,
                                       .body = html_section({.heading = "Ranks and spectra",
                                                             .meaning = meaning,
                                                             .content = plot_grid(plots)})}));
}

}  // namespace vmla::analysis
