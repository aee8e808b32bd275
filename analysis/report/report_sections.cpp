#include "analysis/report/report_sections.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "analysis/page/share_bar.h"
#include "analysis/page/short_number.h"
#include "analysis/report/adherence_figures.h"
#include "analysis/report/report_plots.h"
#include "analysis/runs/median.h"
#include "model/io/error.h"

namespace vmla::analysis {
namespace {

// The mean of the last tenth: a single batch's loss says little.
double settled(const MetricSeries& series) {
  const size_t count = std::max<size_t>(series.values.size() / 10, 1);
  double sum = 0;
  for (size_t i = series.values.size() - count; i < series.values.size(); ++i)
    sum += series.values[i];
  return sum / static_cast<double>(count);
}

std::string seconds_text(double seconds) {
  if (seconds < 120) return formatted("{:.3g} s", seconds);
  if (seconds < 7200) {
    return formatted(
        "{} min {:02} s", static_cast<int64_t>(seconds / 60), std::lrint(std::fmod(seconds, 60)));
  }
  return formatted("{} h {:02} min",
                   static_cast<int64_t>(seconds / 3600),
                   static_cast<int64_t>(std::fmod(seconds, 3600) / 60));
}

std::string bytes_text(double bytes) {
  return bytes >= 1e9 ? formatted("{:.2f} GB", bytes / 1e9) : formatted("{:.0f} MB", bytes / 1e6);
}

}  // namespace

std::string in_words(std::string name) {
  std::ranges::replace(name, '_', ' ');
  return name;
}

std::string objective_words(const RunContents& run) {
  return in_words(run.setting("objective.name"));
}

std::string run_subtitle(const RunContents& run) {
  std::string text = run.setting("objective.name").empty() ? "a run" : objective_words(run);
  const std::string attention = run.setting("model.attention");
  if (attention == "mla") {
    text += formatted(" · latent attention, rank budget {}", run.setting("model.kv_lora_rank"));
    if (run.ranks && !run.ranks->init().empty())
      text += formatted(", initialised by {}", run.ranks->init());
  } else if (!attention.empty()) {
    text += formatted(" · {} attention", attention);
  }
  if (run.metric("loss") != nullptr) {
    text += formatted(" · step {}", static_cast<int64_t>(run.last_step()));
    const std::string steps = run.setting("train.steps");
    if (!steps.empty()) text += formatted(" of {}", steps);
  }
  return text;
}

std::vector<Card> key_figures(const RunContents& run) {
  std::vector<Card> cards;
  if (const MetricSeries* loss = run.metric("loss")) {
    cards.push_back(
        {.label = "training loss ↓, last tenth", .value = short_number(settled(*loss))});
  }
  if (const auto validation = run.last_value("validation_loss")) {
    cards.push_back({.label = "validation loss ↓", .value = short_number(validation)});
  }
  const auto add_share = [&](const std::string& label, std::optional<double> share) {
    if (share) cards.push_back({.label = label, .value = percent(share)});
  };
  add_share("clips with a shape there ↑", present_share(run));
  add_share("right colour ↑ (chance 17 %)", right_share(run, "", "colour"));
  add_share("right direction ↑ (chance 25 %)", right_share(run, "", "direction"));
  add_share("right shape ↑ (chance 33 %)", right_share(run, "", "shape"));
  add_share("retention ↑ (chance 50 %)", run.figure("retention.identification"));
  if (const auto keep = run.figure("mosaic.keep"))
    cards.push_back({.label = "of the ground kept ↑ (real: 1)", .value = short_number(keep)});
  if (const auto shift = run.figure("drift.shift"))
    cards.push_back(
        {.label = "drift ↓ (above 1: beyond real clips)", .value = short_number(shift)});
  if (const RankLog* ranks = run.measured_ranks()) {
    const auto& last = ranks->measurements().back();
    cards.push_back({.label = "entropy rank / budget",
                     .value = percent(rank_share(last, &EffectiveRank::entropy_rank))});
    cards.push_back(
        {.label = "99 %-energy rank / budget", .value = percent(last_rank_share(*ranks))});
  }
  if (const auto speed = median_speed(run))
    cards.push_back({.label = "tokens a second, median ↑", .value = short_number(speed)});
  if (const MetricSeries* time = run.metric("time_step")) {
    double total = 0;
    for (const double seconds : time->values) total += seconds;
    cards.push_back({.label = "spent in training steps", .value = seconds_text(total)});
  }
  if (const auto memory = run.last_value("memory_peak_bytes")) {
    cards.push_back({.label = "peak memory", .value = bytes_text(*memory)});
  }
  return cards;
}

std::optional<double> median_speed(const RunContents& run) {
  const MetricSeries* speed = run.metric("tokens_per_second");
  return speed != nullptr ? std::optional<double>(median(speed->values)) : std::nullopt;
}

/// Milliseconds of each phase, on average over all steps: some run in a few of them alone, such as
/// the scores of a generator's update.
std::vector<Share> phase_shares(const RunContents& run, const MetricSeries* step) {
  std::vector<Share> phases;
  const std::string prefix = "time_";
  for (const auto& [key, series] : run.metrics) {
    if (!key.starts_with(prefix) || &series == step) continue;
    const double steps = static_cast<double>((step ? *step : series).values.size());
    const double sum = std::accumulate(series.values.begin(), series.values.end(), 0.0);
    phases.push_back({.label = key.substr(prefix.size()), .value = 1e3 * sum / steps});
  }
  return phases;
}

std::string speed_section(const RunContents& run) {
  const MetricSeries* time = run.metric("time_step");
  std::vector<Share> phases = phase_shares(run, time);
  if (time == nullptr && phases.empty() && run.metric("tokens_per_second") == nullptr) {
    return html_section({.heading = "Speed", .content = absence("No times were logged.")});
  }
  std::ranges::sort(phases, std::greater(), &Share::value);
  std::vector<std::string> plots = {metric_plot(run,
                                                {.key = "tokens_per_second",
                                                 .title = "Speed (up is better)",
                                                 .y_label = "tokens a second",
                                                 .noisy = true})};
  if (!phases.empty()) {
    plots.push_back(R"(<h3 style="margin-top:0">Where a step's time goes</h3>)" +
                    share_bar(phases, "ms"));
  }
  std::string meaning;
  if (time != nullptr) {
    meaning = formatted("A step takes {} ms (median).", short_number(1e3 * median(time->values)));
  }
  if (const MetricSeries* mfu = run.metric("mfu")) {
    meaning += formatted(
        " The model's own arithmetic runs at {} of the rate at which the devices multiply "
        "large matrices (<code>mfu</code>).",
        percent(median(mfu->values)));
  }
  return html_section({.heading = "Speed", .meaning = meaning, .content = plot_grid(plots)});
}

std::string config_section(const RunContents& run) {
  if (run.config_text.empty()) return "";
  return html_section(
      {.heading = "Configuration",
       .meaning = "Complete, with every default; <code>vmla train --config</code> of this file "
                  "repeats the run.",
       .content = formatted(R"(<details class="panel"><summary>config.yaml</summary>)"
                            "<pre>{}</pre></details>",
                            escape_html(run.config_text))});
}

std::string problem_section(const RunContents& run) {
  if (run.problems.empty()) return "";
  std::string list;
  for (const std::string& problem : run.problems) list += absence(problem);
  return html_section({.heading = "What is missing", .content = list});
}

}  // namespace vmla::analysis
