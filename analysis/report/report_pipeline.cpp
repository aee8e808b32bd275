#include "analysis/report/report_pipeline.h"

#include <algorithm>
#include <map>

#include "analysis/page/html_text.h"
#include "analysis/page/plot_style.h"
#include "analysis/page/short_number.h"
#include "analysis/page/svg_plot.h"
#include "analysis/report/adherence_figures.h"
#include "analysis/report/report_plots.h"
#include "analysis/report/report_sections.h"
#include "analysis/report/stage_lines.h"
#include "model/io/format.h"

namespace vmla::analysis {
namespace {

// init.method of each stage, or of the nearest stage that it descends from, by the stage's name.
std::map<std::string, std::string> init_methods(const std::vector<RunContents>& stages) {
  std::map<std::string, std::string> methods;
  for (const std::vector<size_t>& line : stage_lines(stages)) {
    std::string method;
    for (const size_t index : line) {
      const std::string own = stages[index].setting("init.method");
      if (!own.empty()) method = own;
      methods[stages[index].name] = method;
    }
  }
  return methods;
}

// Retention with a zeroed cache; the second key is that of older run folders.
std::optional<double> retention_without_cache(const RunContents& run) {
  const auto share = run.figure("without_cache.retention.identification");
  return share ? share : run.figure("retention_without_cache.identification");
}

std::string comparison_table(const std::vector<RunContents>& stages) {
  const auto share = [](const std::string& key) {
    return [key](const RunContents& run) { return percent(run.figure(key)); };
  };
  const auto right = [](const std::string& what) {
    return [what](const RunContents& run) { return percent(right_share(run, "", what)); };
  };
  const auto last_value = [](const std::string& key) {
    return [key](const RunContents& run) { return short_number(run.last_value(key)); };
  };
  const auto last_ranks = [](double EffectiveRank::* figure) {
    return [figure](const RunContents& run) {
      const RankLog* ranks = run.measured_ranks();
      return percent(ranks != nullptr
                         ? std::optional(rank_share(ranks->measurements().back(), figure))
                         : std::nullopt);
    };
  };
  const auto null_ranks = [](std::vector<LayerRank> RankNulls::* null) {
    return [null](const RunContents& run) {
      const RankLog* ranks = run.measured_ranks();
      const bool has = ranks != nullptr && !(ranks->nulls().*null).empty();
      return percent(
          has ? std::optional(rank_share(ranks->nulls().*null, &EffectiveRank::entropy_rank))
              : std::nullopt);
    };
  };
  const auto init = [methods = init_methods(stages)](const RunContents& run) {
    const auto method = methods.find(run.name);
    return method == methods.end() || method->second.empty() ? "–" : escape_html(method->second);
  };
  std::vector<Column<RunContents>> columns = {
      {"stage", [](const RunContents& run) { return link_to_stage(run.name); }},
      {"init", init},
      {"validation<br>loss ↓", last_value("validation_loss")},
      {"shape<br>there ↑", [](const RunContents& run) { return percent(present_share(run)); }},
      {"right<br>colour ↑", right("colour")},
      {"right<br>direction ↑", right("direction")},
      {"right<br>shape ↑", right("shape")},
      {"retention ↑", share("retention.identification")},
      {"cache<br>zeroed",
       [](const RunContents& run) { return percent(retention_without_cache(run)); }},
      {"drift ↓", [](const RunContents& run) { return short_number(run.figure("drift.shift")); }},
      {"entropy rank<br>of budget", last_ranks(&EffectiveRank::entropy_rank)},
      {"random<br>product's", null_ranks(&RankNulls::product)},
      {"truncated<br>noise's", null_ranks(&RankNulls::truncated)},
      {"r<sub>0.99</sub> of<br>budget", last_ranks(&EffectiveRank::r99_fractional)},
      {"tokens/s ↑", [](const RunContents& run) { return short_number(median_speed(run)); }}};
  const bool any_ground = std::ranges::any_of(
      stages, [](const RunContents& run) { return run.figure("mosaic.contrast").has_value(); });
  if (any_ground) {
    const auto number = [](const std::string& key) {
      return [key](const RunContents& run) { return short_number(run.figure(key)); };
    };
    columns.insert(columns.end() - 1,
                   {{"ground<br>kept ↑", number("mosaic.keep")},
                    {"cache<br>zeroed", number("without_cache.mosaic.keep")},
                    {"contrast<br>(1)", number("mosaic.contrast")},
                    {"energy ↓", number("mosaic.energy")}});
  }
  return table_of(columns, stages);
}

// A short curve as it is, with a dot at every point; a long one pale, with its moving mean.
void add_curve(std::vector<Series>& plot,
               const RunContents& run,
               const std::string& key,
               const std::string& colour) {
  constexpr size_t kLong = 40;  // points
  const MetricSeries* series = run.metric(key);
  if (series == nullptr) return;
  if (series->values.size() >= kLong) {
    plot.push_back({.x = series->steps, .y = series->values, .colour = colour, .faint = true});
    const double span = static_cast<double>(series->values.size()) / 40;
    plot.push_back({.label = run.name,
                    .x = series->steps,
                    .y = smoothed(series->values, span),
                    .colour = colour});
  } else {
    plot.push_back({.label = run.name,
                    .x = series->steps,
                    .y = series->values,
                    .colour = colour,
                    .markers = true});
  }
}

// Stages of one objective, in their order; objectives in the order of their first stages.
std::vector<std::vector<const RunContents*>> by_objective(const std::vector<RunContents>& stages) {
  std::vector<std::vector<const RunContents*>> groups;
  for (const RunContents& run : stages) {
    const auto known = std::ranges::find_if(groups, [&](const auto& group) {
      return group.front()->setting("objective.name") == run.setting("objective.name");
    });
    if (known == groups.end()) {
      groups.push_back({&run});
    } else {
      known->push_back(&run);
    }
  }
  return groups;
}

// Losses of stages with one objective are comparable: they share a plot.
std::vector<std::string> comparison_plots(const std::vector<RunContents>& stages) {
  std::vector<std::string> plots;
  for (const auto& runs : by_objective(stages)) {
    const std::string objective = objective_words(*runs.front());
    for (const auto& [key, title] : {std::pair{"loss", "Training loss"},
                                     {"loss_fake_score", "Critic's loss"},
                                     {"validation_loss", "Validation loss"}}) {
      std::vector<Series> plot;
      for (size_t i = 0; i < runs.size(); ++i) add_curve(plot, *runs[i], key, series_colour(i));
      if (plot.empty()) continue;
      plots.push_back(
          line_plot(plot,
                    {.title = (objective.empty() ? title : formatted("{} · {}", title, objective)) +
                              " (down is better)",
                     .x_label = "step",
                     .y_label = "mean squared error",
                     .log_y = true,
                     .height = 250}));
    }
  }
  return plots;
}

}  // namespace

std::string stage_table_section(const std::vector<RunContents>& stages) {
  return html_section(
      {.heading = "The stages compared",
       .meaning =
           "Measured on clips sampled from held-out captions; ↑ more is better, ↓ less is "
           "better. Shape there: the share of clips in which something of a real shape's "
           "area moves from beginning to end; colour, direction and shape count only where "
           "it is there. If it is, chance is 16.7 % for colour, 25 % for direction and "
           "33.3 % for shape; for retention it is 50 %, to which it should fall when the "
           "cache is zeroed. Drift: how far the mean of long videos moves, in half widths "
           "of the band of real clips; above 1 they drift. Ground kept, contrast and energy, "
           "where there is a mosaic: see a stage's own page. Tokens/s: the median step.",
       .content = comparison_table(stages)});
}

std::string loss_comparison_section(const std::vector<RunContents>& stages) {
  return html_section(
      {.heading = "Losses",
       .meaning = "Stages with the same objective share a plot; with the same seed they saw the "
                  "same clips and noise.",
       .content = plot_grid(comparison_plots(stages))});
}

}  // namespace vmla::analysis
