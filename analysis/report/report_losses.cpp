#include "analysis/page/html_text.h"
#include "analysis/page/short_number.h"
#include "analysis/report/report_plots.h"
#include "analysis/report/report_sections.h"
#include "model/io/error.h"

namespace vmla::analysis {
namespace {

// validation_loss_t0 .. tN: the loss by timestep, from clean (first) to noise (last).
std::string time_bin_plot(const RunContents& run) {
  std::vector<const MetricSeries*> bins;
  while (const MetricSeries* bin = run.metric(formatted("validation_loss_t{}", bins.size())))
    bins.push_back(bin);
  if (bins.empty()) return "";
  std::vector<Series> plot;
  const auto count = static_cast<int64_t>(bins.size());
  for (size_t i = 0; i < bins.size(); ++i) {
    const auto bin = static_cast<int64_t>(i);
    plot.push_back({formatted("t {}–{}", 1000 * bin / count, 1000 * (bin + 1) / count),
                    bins[i]->steps,
                    bins[i]->values,
                    layer_colour(i, bins.size()),
                    false,
                    false,
                    true});
  }
  PlotOptions options;
  options.title = "Validation loss by timestep";
  options.x_label = "step";
  options.log_y = true;
  options.height = 240;
  return line_plot(plot, options);
}

}  // namespace

std::string loss_section(const RunContents& run) {
  const MetricSeries* loss = run.metric("loss");
  if (loss == nullptr) return section("Losses", "", absence("No step has been logged yet."));
  std::string meaning = "Pale: every step; strong: its moving mean. ";
  const MetricSeries* validation = run.metric("validation_loss");
  if (validation != nullptr && validation->values.size() >= 2) {
    const double first = validation->values.front(), last = validation->values.back();
    meaning += last < first
                   ? formatted(
                         "The validation loss (held-out clips, the same noise and times at every "
                         "visit) fell from {} to {}.",
                         short_number(first),
                         short_number(last))
                   : formatted("The validation loss did not fall: {} at first, {} at last.",
                               short_number(first),
                               short_number(last));
  } else {
    meaning += "There was no validation to compare with.";
  }
  std::vector<std::string> plots = {player_plot(run, "loss", "Loss", "validation_loss")};
  const std::string bins = time_bin_plot(run);
  if (!bins.empty()) plots.push_back(bins);
  plots.push_back(player_plot(run, "grad_norm", "Gradient norm", ""));
  if (run.metric("dmd_gradient_norm") != nullptr)
    plots.push_back(metric_plot(run, "dmd_gradient_norm", "DMD gradient, mean size", true, true));
  plots.push_back(metric_plot(run, "lr", "Learning rate", false, false));
  return section("Losses", meaning, plot_grid(plots));
}

std::string health_section(const RunContents& run) {
  if (run.metric("loss") == nullptr) return "";
  HealthMonitor monitor;
  std::string content;
  for (const HealthAlarm& alarm : replay_health(run.metrics, monitor)) {
    content += absence(alarm.message);
  }
  if (content.empty()) content = "<p>No alarm: no figure left its usual range.</p>";
  if (run.metric("loss_fake_score") != nullptr) {
    content += plot_grid(
        {metric_plot(run, "fake_score_loss_ratio", "Critic loss / generator loss", true, false),
         metric_plot(run, "critic_lag", "Critic lag: loss / its lowest", false, false)});
  }
  return section("Health",
                 "What the run's figures say about it: gradient norms against their running "
                 "medians, and, where a critic is trained, whether it keeps up.",
                 content);
}

}  // namespace vmla::analysis
