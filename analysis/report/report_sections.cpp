#include "analysis/report/report_sections.h"
#include "analysis/page/short_number.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "analysis/page/html_text.h"
#include "analysis/report/report_plots.h"
#include "model/io/error.h"

namespace vmla::analysis {
namespace {

double last_of(const MetricSeries& series) {
  return series.values.empty() ? 0 : series.values.back();
}

// The mean of the last tenth: a single batch's loss says little.
double settled(const MetricSeries& series) {
  const size_t count = std::max<size_t>(series.values.size() / 10, 1);
  double sum = 0;
  for (size_t i = series.values.size() - count; i < series.values.size(); ++i)
    sum += series.values[i];
  return sum / static_cast<double>(count);
}

std::string seconds_text(double seconds) {
  char text[48];
  if (seconds < 120) {
    std::snprintf(text, sizeof text, "%.3g s", seconds);
  } else if (seconds < 7200) {
    std::snprintf(
        text, sizeof text, "%.0f min %02.0f s", std::floor(seconds / 60), std::fmod(seconds, 60));
  } else {
    std::snprintf(text,
                  sizeof text,
                  "%.0f h %02.0f min",
                  std::floor(seconds / 3600),
                  std::floor(std::fmod(seconds, 3600) / 60));
  }
  return text;
}

std::string bytes_text(double bytes) {
  char text[32];
  std::snprintf(
      text, sizeof text, bytes >= 1e9 ? "%.2f GB" : "%.0f MB", bytes / (bytes >= 1e9 ? 1e9 : 1e6));
  return text;
}

}  // namespace

std::string percent(std::optional<double> share) {
  if (!share || !std::isfinite(*share)) return "–";
  char text[16];
  std::snprintf(text, sizeof text, "%.1f %%", 100 * *share);
  return text;
}

std::string run_subtitle(const RunContents& run) {
  std::string text =
      run.setting("objective.name").empty() ? "a run" : run.setting("objective.name");
  std::replace(text.begin(), text.end(), '_', ' ');
  if (run.setting("model.attention") == "mla") {
    text += " · latent attention, rank budget " + run.setting("model.kv_lora_rank");
    if (run.ranks && !run.ranks->init().empty()) text += ", initialised by " + run.ranks->init();
  } else if (!run.setting("model.attention").empty()) {
    text += " · " + run.setting("model.attention") + " attention";
  }
  if (run.metric("loss") != nullptr) {
    double last = 0;  // a player that is updated less often has fewer steps
    for (const auto& [name, series] : run.metrics) last = std::max(last, series.steps.back());
    text += formatted(" · step {}", static_cast<int64_t>(last));
    if (!run.setting("train.steps").empty()) text += " of " + run.setting("train.steps");
  }
  return text;
}

std::vector<std::pair<std::string, std::string>> key_figures(const RunContents& run) {
  std::vector<std::pair<std::string, std::string>> figures;
  if (const MetricSeries* loss = run.metric("loss")) {
    figures.push_back({"training loss, last tenth", short_number(settled(*loss))});
  }
  if (const MetricSeries* validation = run.metric("validation_loss")) {
    figures.push_back({"validation loss", short_number(last_of(*validation))});
  }
  for (const auto& [key, label] :
       std::vector<std::pair<std::string, std::string>>{{"adherence.colour", "right colour"},
                                                        {"adherence.direction", "right direction"},
                                                        {"adherence.shape", "right shape"}}) {
    if (const auto value = run.figure(key)) figures.push_back({label, percent(value)});
  }
  if (const auto value = run.figure("retention.identification")) {
    figures.push_back({"retention (chance 50 %)", percent(value)});
  }
  if (run.ranks && !run.ranks->steps().empty()) {
    figures.push_back({"99 %-energy rank / budget",
                       percent(mean_rank_share(*run.ranks, run.ranks->steps().size() - 1))});
  }
  if (const MetricSeries* speed = run.metric("tokens_per_second")) {
    figures.push_back({"tokens a second", short_number(median(speed->values))});
  }
  if (const MetricSeries* time = run.metric("time_step")) {
    double total = 0;
    for (const double seconds : time->values) total += seconds;
    figures.push_back({"spent in training steps", seconds_text(total)});
  }
  if (const MetricSeries* memory = run.metric("memory_peak_bytes")) {
    figures.push_back({"peak memory", bytes_text(last_of(*memory))});
  }
  return figures;
}

std::string speed_section(const RunContents& run) {
  const MetricSeries* time = run.metric("time_step");
  std::vector<Share> phases;
  for (const auto& [key, series] : run.metrics) {
    if (key.rfind("time_", 0) == 0 && key != "time_step")
      phases.push_back({key.substr(5), 1e3 * median(series.values)});
  }
  if (time == nullptr && phases.empty() && run.metric("tokens_per_second") == nullptr) {
    return section("Speed", "", absence("No times were logged."));
  }
  std::sort(phases.begin(), phases.end(), [](const Share& a, const Share& b) {
    return a.value > b.value;
  });
  std::vector<std::string> plots = {
      metric_plot(run, "tokens_per_second", "Tokens a second", false, true)};
  if (!phases.empty())
    plots.push_back("<h3 style=\"margin-top:0\">Where a step's time goes</h3>" +
                    share_bar(phases, "ms"));
  std::string meaning = time != nullptr ? formatted("A step takes {} ms (median).",
                                                    short_number(1e3 * median(time->values)))
                                        : "";
  if (const MetricSeries* mfu = run.metric("mfu")) {
    meaning +=
        formatted(" The model's own arithmetic runs at {} of this machine's matrix-product rate.",
                  percent(median(mfu->values)));
  }
  return section("Speed", meaning, plot_grid(plots));
}

std::string config_section(const RunContents& run) {
  if (run.config_text.empty()) return "";
  return section("Configuration",
                 "Complete, with every default; <code>vmla train --config</code> of this file "
                 "repeats the run.",
                 "<details class=\"panel\"><summary>config.yaml</summary><pre>" +
                     escape_html(run.config_text) + "</pre></details>");
}

std::string problem_section(const RunContents& run) {
  if (run.problems.empty()) return "";
  std::string list;
  for (const std::string& problem : run.problems) list += absence(problem);
  return section("What is missing", "", list);
}

}  // namespace vmla::analysis
