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

// The curve of one line of stages on an axis of all their steps, each stage beginning where the one
// before ended. Adds a mark where a stage begins, unless another line has one there.
Series rank_curve(const std::vector<RunContents>& stages,
                  const std::vector<size_t>& line,
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
      curve.y.push_back(100 * mean_rank_share(*ranks, i));
    }
    begin += std::max(run.last_step(), static_cast<double>(ranks->steps().back()));
  }
  return curve;
}

}  // namespace

std::string rank_comparison_section(const std::vector<RunContents>& stages) {
  std::vector<Series> curves;
  PlotOptions options{.title = "99 %-energy rank as a share of the budget, mean of the layers",
                      .x_label = "step, through the stages",
                      .y_label = "%",
                      .width = 1100,
                      .height = 320};
  for (const std::vector<size_t>& line : stage_lines(stages)) {
    Series curve = rank_curve(stages, line, series_colour(curves.size()), options.marks);
    if (!curve.x.empty()) curves.push_back(std::move(curve));
  }
  if (curves.empty()) return "";
  double null = 0, last = 0;
  std::vector<std::string> spectra;
  for (const RunContents& run : stages) {
    const RankLog* ranks = run.measured_ranks();
    if (ranks == nullptr) continue;
    null = std::max(null, null_rank_share(*ranks));
    spectra.push_back(last_spectra_plot(*ranks, "Spectra at the last step · " + run.name));
  }
  for (const Series& curve : curves) last = std::max(last, curve.x.back());
  if (null > 0) {
    Series baseline = null_look();
    baseline.x = {0, last};
    baseline.y = {100 * null, 100 * null};
    curves.push_back(std::move(baseline));
  }
  return html_section(
      {.heading = "Effective rank",
       .meaning = "Does the way the latents were initialised show in the rank that training ends "
                  "with? Curves that meet say that the bottleneck decides, curves that stay apart "
                  "that the starting weights do. Upright lines mark where a stage begins. The "
                  "dashed line is a product of random matrices of the same shape.",
       .content = wide_panel(line_plot(curves, options)) + kGap + plot_grid(spectra)});
}

}  // namespace vmla::analysis
