#include "analysis/study/rank_study.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "analysis/page/html_text.h"
#include "analysis/page/plot_style.h"
#include "analysis/page/svg_plot.h"
#include "analysis/rank/rank_log.h"
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
      place->log.set_null(std::move(point.null));
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
    log.append(point.step, std::move(point.layers));
  }
  return series;
}

std::string csv_text(const std::vector<RankSeries>& series) {
  std::string csv =
      "series,init,step,layer,rank,r99,r99_fractional,stable_rank,entropy_rank,"
      "null_r99_fractional\n";
  for (const RankSeries& s : series) {
    for (size_t i = 0; i < s.log.steps().size(); ++i) {
      for (size_t layer = 0; layer < s.log.measurements()[i].size(); ++layer) {
        const LayerRank& rank = s.log.measurements()[i][layer];
        csv += formatted("{},{},{},{},{},{},{:.9g},{:.9g},{:.9g},{:.9g}\n",
                         s.name,
                         s.log.init(),
                         s.log.steps()[i],
                         layer,
                         rank.rank,
                         rank.effective.r99,
                         rank.effective.r99_fractional,
                         rank.effective.stable_rank,
                         rank.effective.entropy_rank,
                         s.log.null().at(layer).effective.r99_fractional);
      }
    }
  }
  return csv;
}

// r_0.99 of every layer in per cent of its budget, as a line of the given look over the layers.
Series share_line(const std::vector<LayerRank>& layers, Series look) {
  for (size_t layer = 0; layer < layers.size(); ++layer) {
    look.x.push_back(static_cast<double>(layer));
    look.y.push_back(100 * layers[layer].effective.r99_fractional /
                     static_cast<double>(layers[layer].rank));
  }
  return look;
}

// By layer at each series' last step: readable for one checkpoint as for many.
std::string layer_plot(const std::vector<RankSeries>& series) {
  std::vector<Series> plot;
  for (size_t s = 0; s < series.size(); ++s) {
    plot.push_back(
        share_line(series[s].log.measurements().back(),
                   {.label = series[s].name, .colour = series_colour(s), .markers = true}));
    Series baseline = null_look();
    if (s > 0) baseline.label.clear();  // once in the legend
    plot.push_back(share_line(series[s].log.null(), std::move(baseline)));
  }
  return line_plot(plot,
                   {.title = "99 %-energy rank of the budget, by layer, last step",
                    .x_label = "layer",
                    .y_label = "%"});
}

std::string step_plot(const std::vector<RankSeries>& series) {
  std::vector<Series> plot;
  for (size_t s = 0; s < series.size(); ++s) {
    const RankLog& log = series[s].log;
    Series line{.label = series[s].name,
                .x = {log.steps().begin(), log.steps().end()},
                .colour = series_colour(s),
                .markers = true};
    for (size_t i = 0; i < log.steps().size(); ++i) line.y.push_back(100 * mean_rank_share(log, i));
    plot.push_back(std::move(line));
  }
  return line_plot(plot,
                   {.title = "99 %-energy rank of the budget, mean of layers",
                    .x_label = "step",
                    .y_label = "%"});
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
  std::vector<std::string> plots = {layer_plot(series), step_plot(series)};
  io::write_file_atomically(out / "rank.svg", standalone_svg(plots.front()));
  for (const RankSeries& s : series) {
    plots.push_back(last_spectra_plot(
        s.log, formatted("Spectra at step {} · {}", s.log.steps().back(), s.name)));
  }
  const std::string meaning =
      "Of the map kv_b · diag(gain) · kv_a, without biases: the least rank that holds 99 % of the "
      "energy, with its fraction. The dashed lines are products of random matrices of the same "
      "shape: near them the bottleneck, not the data, sets the rank.";
  const std::string subtitle = series.size() == 1 ? "1 run" : formatted("{} runs", series.size());
  io::write_file_atomically(out / "rank.html",
                            html_page({.title = "Effective rank",
                                       .subtitle = subtitle,
                                       .body = html_section({.heading = "Ranks and spectra",
                                                             .meaning = meaning,
                                                             .content = plot_grid(plots)})}));
}

}  // namespace vmla::analysis
