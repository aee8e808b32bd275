#include "analysis/report/report_pipeline.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "analysis/page/html_text.h"
#include "analysis/page/short_number.h"
#include "analysis/page/svg_plot.h"
#include "analysis/report/report_sections.h"
#include "model/io/error.h"

namespace vmla::analysis {
namespace {

double last_value(const RunContents& run, const std::string& key) {
  const MetricSeries* series = run.metric(key);
  return series != nullptr ? series->values.back() : NAN;
}

// Values that a stage lacks stay a dash, so that stages of different kinds share one table.
std::string comparison_table(const std::vector<RunContents>& stages) {
  std::vector<std::vector<std::string>> rows;
  std::map<std::string, std::string> init;  // of a stage, or of the one that it descends from
  for (const std::vector<size_t>& line : stage_lines(stages)) {
    std::string method;
    for (const size_t index : line) {
      const std::string own = stages[index].setting("init.method");
      if (!own.empty()) method = own;
      init[stages[index].name] = method;
    }
  }
  for (const RunContents& run : stages) {
    const bool ranked = run.ranks && !run.ranks->steps().empty();
    std::optional<double> erased = run.figure("without_cache.retention.identification");
    if (!erased) erased = run.figure("retention_without_cache.identification");
    rows.push_back(
        {link_to_stage(run.name),
         init[run.name].empty() ? "–" : escape_html(init[run.name]),
         short_number(last_value(run, "validation_loss")),
         percent(run.figure("adherence.colour")),
         percent(run.figure("adherence.direction")),
         percent(run.figure("adherence.shape")),
         percent(run.figure("retention.identification")),
         percent(erased),
         short_number(run.figure("drift.shift").value_or(NAN)),
         ranked ? percent(mean_rank_share(*run.ranks, run.ranks->steps().size() - 1)) : "–",
         ranked ? percent(null_rank_share(*run.ranks)) : "–",
         short_number(last_value(run, "tokens_per_second"))});
  }
  return table({"stage",
                "init",
                "validation<br>loss",
                "colour",
                "direction",
                "shape",
                "retention",
                "cache<br>zeroed",
                "drift",
                "r<sub>0.99</sub> of<br>budget",
                "random<br>product",
                "tokens/s"},
               rows);
}

void add_curve(std::vector<Series>& plot,
               const RunContents& run,
               const std::string& key,
               size_t colour) {
  const MetricSeries* series = run.metric(key);
  if (series == nullptr) return;
  const bool few = series->values.size() < 40;
  if (!few)
    plot.push_back({"", series->steps, series->values, series_colour(colour), false, true, false});
  const double span = static_cast<double>(series->values.size()) / 40;
  plot.push_back({run.name,
                  series->steps,
                  few ? series->values : smoothed(series->values, span),
                  series_colour(colour),
                  false,
                  false,
                  few});
}

std::string objective_words(const RunContents& run) {
  std::string words = run.setting("objective.name");
  std::replace(words.begin(), words.end(), '_', ' ');
  return words;
}

// Stages of one objective are comparable: their losses share a plot. In the order of the stages.
std::vector<std::string> comparison_plots(const std::vector<RunContents>& stages) {
  std::vector<std::pair<std::string, std::vector<const RunContents*>>> by_objective;
  for (const RunContents& run : stages) {
    const std::string name = run.setting("objective.name");
    const auto known = std::find_if(by_objective.begin(),
                                    by_objective.end(),
                                    [&](const auto& entry) { return entry.first == name; });
    if (known == by_objective.end()) {
      by_objective.push_back({name, {&run}});
    } else {
      known->second.push_back(&run);
    }
  }
  std::vector<std::string> plots;
  for (const auto& [objective, runs] : by_objective) {
    const std::string name = objective.empty() ? "" : " · " + objective_words(*runs.front());
    for (const auto& [key, title] : {std::pair{"loss", "Training loss"},
                                     {"loss_fake_score", "Critic's loss"},
                                     {"validation_loss", "Validation loss"}}) {
      std::vector<Series> plot;
      for (size_t i = 0; i < runs.size(); ++i) add_curve(plot, *runs[i], key, i);
      if (plot.empty()) continue;
      PlotOptions options;
      options.title = title + name;
      options.x_label = "step";
      options.log_y = true;
      options.height = 250;
      plots.push_back(line_plot(plot, options));
    }
  }
  return plots;
}

// One rung: a stage's figures, or those it has when it is forced to few steps.
std::vector<std::string> rung(const std::string& what,
                              const std::string& passes,
                              const RunContents& run,
                              const std::string& prefix) {
  const auto share = [&](const std::string& key) { return percent(run.figure(prefix + key)); };
  const auto drift = [&](const char* key) { return run.figure(prefix + "drift." + key); };
  return {what,
          passes.empty() ? "–" : passes,
          share("adherence.colour"),
          share("adherence.direction"),
          share("adherence.shape"),
          share("retention.identification"),
          share("retention.size_identification"),
          share("long_rollout.retention.identification"),
          short_number(run.figure(prefix + "motion.border_jump").value_or(NAN)),
          short_number(drift("shift").value_or(NAN)),
          short_number(drift("score").value_or(NAN)),
          percent(drift("adherence.direction_last")),
          percent(drift("motion_share_last"))};
}

bool measured_in_few_steps(const RunContents& run) {
  return run.figure("few_step.adherence.colour").has_value();
}

std::string forced_passes(const RunContents& run) {
  const size_t steps = list_length(run.setting("sample.also_few_step"));
  return steps == 0 ? "" : formatted("{} passes", steps);
}

double last_step(const RunContents& run) {
  double step = 0;
  for (const auto& [name, series] : run.metrics) step = std::max(step, series.steps.back());
  return step;
}

bool has_ranks(const RunContents& run) {
  return run.ranks && !run.ranks->steps().empty();
}

// The curve of one line of stages; each stage begins where the one before ended.
Series rank_line(const std::vector<RunContents>& stages,
                 const std::vector<size_t>& line,
                 size_t colour,
                 std::vector<PlotMark>& marks) {
  Series curve{stages[line.back()].name, {}, {}, series_colour(colour), false, false, false};
  double begin = 0;
  for (const size_t index : line) {
    const RunContents& run = stages[index];
    if (!has_ranks(run)) continue;
    const bool marked = std::any_of(
        marks.begin(), marks.end(), [&](const PlotMark& mark) { return mark.x == begin; });
    if (!marked) marks.push_back({objective_words(run), begin});
    for (size_t i = 0; i < run.ranks->steps().size(); ++i) {
      curve.x.push_back(begin + static_cast<double>(run.ranks->steps()[i]));
      curve.y.push_back(100 * mean_rank_share(*run.ranks, i));
    }
    begin += std::max(last_step(run), static_cast<double>(run.ranks->steps().back()));
  }
  return curve;
}

}  // namespace

std::string link_to_stage(const std::string& name) {
  return "<a href=\"" + escape_html(name) + "/report.html\">" + escape_html(name) + "</a>";
}

std::vector<std::vector<size_t>> stage_lines(const std::vector<RunContents>& stages) {
  const auto parent_of = [&](size_t index) -> std::optional<size_t> {
    const std::string name = stages[index].setting("init_from.generator.stage");
    for (size_t i = 0; i < stages.size(); ++i) {
      if (i != index && !name.empty() && stages[i].name == name) return i;
    }
    return std::nullopt;
  };
  std::set<size_t> parents;
  for (size_t i = 0; i < stages.size(); ++i) {
    if (const auto parent = parent_of(i)) parents.insert(*parent);
  }
  std::vector<std::vector<size_t>> lines;
  for (size_t i = 0; i < stages.size(); ++i) {
    if (parents.contains(i)) continue;
    std::vector<size_t> line = {i};
    // As many steps at most as there are stages: a damaged configuration may name a circle.
    for (auto parent = parent_of(i); parent && line.size() <= stages.size();
         parent = parent_of(*parent)) {
      line.insert(line.begin(), *parent);
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

std::string stage_table_section(const std::vector<RunContents>& stages) {
  return section(
      "The stages compared",
      "Measured on clips sampled from held-out captions; chance is 16.7 % for colour, "
      "25 % for direction, 33.3 % for shape and 50 % for retention, which should fall "
      "to chance when the cache is zeroed. Drift: how far the mean of long videos moves, in half "
      "widths of the band of real clips.",
      comparison_table(stages));
}

std::string ladder_section(const std::vector<RunContents>& stages) {
  if (std::none_of(stages.begin(), stages.end(), [](const RunContents& run) {
        return samples_in_few_steps(run) || measured_in_few_steps(run);
      })) {
    return "";
  }
  std::string content;
  for (const std::vector<size_t>& line : stage_lines(stages)) {
    std::vector<std::vector<std::string>> rows;
    for (const size_t index : line) {
      const RunContents& run = stages[index];
      rows.push_back(rung(link_to_stage(run.name) + " · " + escape_html(objective_words(run)),
                          sampling_passes(run),
                          run,
                          ""));
      if (measured_in_few_steps(run)) {
        rows.push_back(rung(
            escape_html(run.name) + ", forced to few steps", forced_passes(run), run, "few_step."));
      }
    }
    content += (content.empty() ? "" : "<h3></h3>") + table({escape_html(stages[line.back()].name),
                                                             "a chunk",
                                                             "colour",
                                                             "direction",
                                                             "shape",
                                                             "retention",
                                                             "of size",
                                                             "retention,<br>long",
                                                             "border<br>jump",
                                                             "drift<br>of all",
                                                             "drift<br>of each",
                                                             "direction,<br>long",
                                                             "motion,<br>long"},
                                                            rows);
  }
  return section("The ladder of distillation",
                 "Each rung starts from the one above. What few steps cost is the second row of a "
                 "many-step stage; each student should win some of it back. The last four columns "
                 "are of long videos, first window to last: how far their mean moves (in half "
                 "widths of the band of real clips; above 1 is drift), how far each one moves (in "
                 "a real clip's own change), right direction and motion at the end.",
                 content);
}

std::string loss_comparison_section(const std::vector<RunContents>& stages) {
  return section("Losses",
                 "Stages with the same objective share a plot; with the same seed they saw the "
                 "same clips and noise.",
                 plot_grid(comparison_plots(stages)));
}

std::string rank_comparison_section(const std::vector<RunContents>& stages) {
  std::vector<Series> curves;
  PlotOptions options;
  for (const std::vector<size_t>& line : stage_lines(stages)) {
    Series curve = rank_line(stages, line, curves.size(), options.marks);
    if (!curve.x.empty()) curves.push_back(std::move(curve));
  }
  if (curves.empty()) return "";
  double null = 0, last = 0;
  std::vector<std::string> spectra;
  for (const RunContents& run : stages) {
    if (!has_ranks(run)) continue;
    null = std::max(null, null_rank_share(*run.ranks));
    spectra.push_back(spectrum_plot(*run.ranks, "Spectra at the last step · " + run.name));
  }
  for (const Series& curve : curves) last = std::max(last, curve.x.back());
  if (null > 0) {
    curves.push_back(
        {"random product", {0, last}, {100 * null, 100 * null}, "var(--null)", true, false, false});
  }
  options.title = "99 %-energy rank as a share of the budget, mean of the layers";
  options.x_label = "step, through the stages";
  options.y_label = "%";
  options.width = 1100;
  options.height = 320;
  return section("Effective rank",
                 "Does the way the latents were initialised show in the rank that training ends "
                 "with? Curves that meet say that the bottleneck decides, curves that stay apart "
                 "that the starting weights do. Upright lines mark where a stage begins. The "
                 "dashed line is a product of random matrices of the same shape.",
                 line_plot(curves, options) + "<h3></h3>" + plot_grid(spectra));
}

}  // namespace vmla::analysis
