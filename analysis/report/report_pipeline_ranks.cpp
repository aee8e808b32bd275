#include <algorithm>

#include "analysis/page/html_text.h"
#include "analysis/page/plot_style.h"
#include "analysis/page/svg_plot.h"
#include "analysis/report/rank_plots.h"
#include "analysis/report/report_pipeline.h"
#include "analysis/report/report_sections.h"
#include "analysis/report/stage_lines.h"

namespace vmla::analysis {
namespace {

using Figure = double EffectiveRank::*;

// The curve of one line of stages on an axis of all their steps, each stage beginning where the one
// before ended: the mean share of the budget. Adds a mark where a stage begins, unless another line
// has one there.
Series rank_curve(const std::vector<RunContents>& stages,
                  const std::vector<size_t>& line,
                  Figure figure,
                  const std::string& colour,
                  std::vector<PlotMark>& marks) {
  Series curve{.label = stages[line.back()].name, .colour = colour};
  double begin = 0;
  for (const size_t index : line) {
    const RunContents& run = stages[index];
    const RankLog* ranks = run.measured_ranks();
    if (ranks == nullptr) continue;
    if (std::ranges::find(marks, begin, &PlotMark::x) == marks.end())
      marks.push_back({.label = objective_words(run), .x = begin});
    for (size_t i = 0; i < ranks->steps().size(); ++i) {
      curve.x.push_back(begin + static_cast<double>(ranks->steps()[i]));
      curve.y.push_back(100 * rank_share(ranks->measurements()[i], figure));
    }
    begin += std::max(run.last_step(), static_cast<double>(ranks->steps().back()));
  }
  return curve;
}

// A null's share of the budget; of several stages the largest.
void add_null(std::vector<Series>& curves,
              const std::vector<RunContents>& stages,
              std::vector<LayerRank> RankNulls::* null,
              Figure figure,
              Series look) {
  double share = 0, last = 0;
  for (const RunContents& run : stages) {
    if (const RankLog* ranks = run.measured_ranks())
      share = std::max(share, rank_share(ranks->nulls().*null, figure));
  }
  if (share <= 0) return;
  for (const Series& curve : curves) last = std::max(last, curve.x.back());
  look.x = {0, last};
  look.y = {100 * share, 100 * share};
  curves.push_back(std::move(look));
}

// "" where no stage measured ranks.
std::string comparison_plot(const std::vector<RunContents>& stages,
                            Figure figure,
                            const std::string& title) {
  std::vector<Series> curves;
  PlotOptions options{.title = title,
                      .x_label = "step, through the stages",
                      .y_label = "%",
                      .width = 1100,
                      .height = 320};
  for (const std::vector<size_t>& line : stage_lines(stages)) {
    Series curve = rank_curve(stages, line, figure, series_colour(curves.size()), options.marks);
    if (!curve.x.empty()) curves.push_back(std::move(curve));
  }
  if (curves.empty()) return "";
  add_null(curves, stages, &RankNulls::product, figure, null_look());
  add_null(curves, stages, &RankNulls::truncated, figure, truncated_look());
  return line_plot(curves, options);
}

// The moving shapes are drawn on purpose to be learned in minutes, which has a price here.
const char* limits_of(const std::vector<RunContents>& stages) {
  const bool shapes = std::ranges::any_of(stages, [](const RunContents& run) {
    const std::string count = run.setting("data.make.synth_count");
    return !count.empty() && count != "0" && run.setting("data.make.scene") != "mosaic";
  });
  if (!shapes) return "";
  return " <b>What these curves cannot show:</b> which rank the data need. A caption of one of 72 "
         "combinations asks six numbers of the cache, and shapes on a dark ground are drawn as "
         "well "
         "by any budget; one run of each start says nothing about seeds. They show that measuring "
         "works, how far each start lies from matrices without structure, and which way training "
         "moves it. A task in which the budget matters needs more bits a token, and several seeds: "
         "the laboratory has both (configs/lab, <code>vmla sweep</code>, what came out: "
         "docs/reproduce.md).";
}

}  // namespace

std::string rank_comparison_section(const std::vector<RunContents>& stages) {
  const std::string entropy =
      comparison_plot(stages,
                      &EffectiveRank::entropy_rank,
                      "Entropy rank as a share of the budget, mean of the layers");
  if (entropy.empty()) return "";
  const std::string r99 =
      comparison_plot(stages,
                      &EffectiveRank::r99_fractional,
                      "99 %-energy rank as a share of the budget, mean of the layers");
  std::vector<std::string> spectra;
  for (const RunContents& run : stages) {
    if (const RankLog* ranks = run.measured_ranks())
      spectra.push_back(last_spectra_plot(*ranks, "Spectra at the last step · " + run.name));
  }
  const std::string meaning =
      "Does the way the latents were initialised show in the rank that training ends with? Curves "
      "that meet say that the bottleneck decides, curves that stay apart that the starting weights "
      "do. Upright lines mark where a stage begins. Grey lines are matrices without structure of "
      "the "
      "same shape, dashed a product of random ones, where a random start begins, and solid the "
      "truncated SVD of one, which an SVD start resembles: near them a rank says nothing about "
      "training.";
  return html_section(
      {.heading = "Effective rank",
       .meaning = meaning + limits_of(stages),
       .content = wide_panel(entropy) + kGap + wide_panel(r99) + kGap + plot_grid(spectra)});
}

}  // namespace vmla::analysis
