#include "analysis/page/short_number.h"
#include "analysis/report/rank_plots.h"
#include "analysis/report/report_sections.h"
#include "model/io/error.h"

namespace vmla::analysis {
namespace {

// One layer's row: at the first and at the last measurement, and its null baseline (or nullptr).
struct LayerRow {
  size_t layer;
  const LayerRank* first;
  const LayerRank* last;
  const LayerRank* null;
};

std::string rank_table(const RankLog& ranks) {
  const auto& first = ranks.measurements().front();
  const auto& last = ranks.measurements().back();
  std::vector<LayerRow> rows;
  for (size_t i = 0; i < last.size(); ++i) {
    rows.push_back({.layer = i,
                    .first = &first[i],
                    .last = &last[i],
                    .null = i < ranks.null().size() ? &ranks.null()[i] : nullptr});
  }
  const std::vector<Column<LayerRow>> columns = {
      {"", [](const LayerRow& row) { return formatted("layer {}", row.layer); }},
      {"budget d<sub>c</sub>", [](const LayerRow& row) { return formatted("{}", row.last->rank); }},
      {"r<sub>0.99</sub> at first",
       [](const LayerRow& row) { return short_number(row.first->effective.r99_fractional); }},
      {"r<sub>0.99</sub> at last",
       [](const LayerRow& row) { return short_number(row.last->effective.r99_fractional); }},
      {"of the budget",
       [](const LayerRow& row) {
         return percent(row.last->effective.r99_fractional / static_cast<double>(row.last->rank));
       }},
      {"random product",
       [](const LayerRow& row) {
         return row.null != nullptr ? short_number(row.null->effective.r99_fractional) : "–";
       }},
      {"stable rank",
       [](const LayerRow& row) { return short_number(row.last->effective.stable_rank); }},
      {"entropy rank",
       [](const LayerRow& row) { return short_number(row.last->effective.entropy_rank); }}};
  return table_of(columns, rows);
}

}  // namespace

std::string rank_section(const RunContents& run) {
  const RankLog* ranks = run.measured_ranks();
  if (ranks == nullptr) {
    const bool dense = run.setting("model.attention") != "mla";
    return html_section(
        {.heading = "Effective rank",
         .content =
             absence(dense ? "A dense model has no latent bottleneck, so there is no rank to track."
                           : "rank.h5 is not there: no rank has been measured yet (rank.every).")});
  }
  const double null = null_rank_share(*ranks);
  const std::string meaning = formatted(
      "r<sub>0.99</sub> is the least rank that holds 99 % of the energy of the map kv_b · "
      "diag(gain) · kv_a, shown with its fraction. On average it went from {} to {} of the "
      "budget{}. Near the random product means that the bottleneck, not the data, sets the rank.",
      percent(mean_rank_share(*ranks, 0)),
      percent(last_rank_share(*ranks)),
      null > 0 ? formatted("; a random product of the same shape has {}", percent(null)) : "");
  const LayerPlot r99{
      .title = "99 %-energy rank", .y_label = "rank", .figure = &EffectiveRank::r99_fractional};
  const LayerPlot stable{
      .title = "Stable rank", .y_label = "Σs²/s₁²", .figure = &EffectiveRank::stable_rank};
  const LayerPlot entropy{
      .title = "Entropy rank", .y_label = "exp H", .figure = &EffectiveRank::entropy_rank};
  return html_section({.heading = "Effective rank",
                       .meaning = meaning,
                       .content = plot_grid({layer_rank_plot(*ranks, r99),
                                             last_spectra_plot(*ranks, "Spectra at the last step"),
                                             layer_rank_plot(*ranks, stable),
                                             layer_rank_plot(*ranks, entropy)}) +
                                  kGap + rank_table(*ranks)});
}

}  // namespace vmla::analysis
