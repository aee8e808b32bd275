#include "analysis/page/plot_style.h"
#include "analysis/page/short_number.h"
#include "analysis/report/adherence_figures.h"
#include "analysis/report/report_plots.h"
#include "analysis/report/report_sections.h"
#include "analysis/runs/run_reading.h"
#include "model/io/error.h"

namespace vmla::analysis {
namespace {

// validation_loss_t0 .. tN: the loss by timestep, from clean (first) to noise (last). "" without
// them.
std::string time_bin_plot(const RunContents& run) {
  std::vector<const MetricSeries*> bins;
  while (const MetricSeries* bin = run.metric(formatted("validation_loss_t{}", bins.size())))
    bins.push_back(bin);
  if (bins.empty()) return "";
  std::vector<Series> plot;
  const auto count = static_cast<int64_t>(bins.size());
  for (size_t i = 0; i < bins.size(); ++i) {
    const auto bin = static_cast<int64_t>(i);
    plot.push_back({.label = formatted("t {}–{}", 1000 * bin / count, 1000 * (bin + 1) / count),
                    .x = bins[i]->steps,
                    .y = bins[i]->values,
                    .colour = layer_colour(i, bins.size()),
                    .markers = true});
  }
  return line_plot(plot,
                   {.title = "Validation loss by timestep (down is better)",
                    .x_label = "step",
                    .y_label = "mean squared error",
                    .log_y = true,
                    .height = 240});
}

std::string validation_sentence(const MetricSeries* validation) {
  if (validation == nullptr || validation->values.size() < 2)
    return "There was no validation to compare with.";
  const double first = validation->values.front(), last = validation->values.back();
  if (last < first) {
    return formatted(
        "The validation loss (held-out clips, the same noise and times at every visit) fell from "
        "{} to {}.",
        short_number(first),
        short_number(last));
  }
  return formatted("The validation loss did not fall: {} at first, {} at last.",
                   short_number(first),
                   short_number(last));
}

}  // namespace

std::string loss_section(const RunContents& run) {
  if (run.metric("loss") == nullptr) {
    return html_section({.heading = "Losses", .content = absence("No step has been logged yet.")});
  }
  std::vector<std::string> plots = {player_plot(run,
                                                {.key = "loss",
                                                 .title = "Loss (down is better)",
                                                 .y_label = "mean squared error",
                                                 .validation_key = "validation_loss"})};
  const std::string bins = time_bin_plot(run);
  if (!bins.empty()) plots.push_back(bins);
  plots.push_back(player_plot(run,
                              {.key = "grad_norm",
                               .title = "Gradient norm (steady is good)",
                               .y_label = "norm over all weights"}));
  if (run.metric("dmd_gradient_norm") != nullptr) {
    plots.push_back(metric_plot(run,
                                {.key = "dmd_gradient_norm",
                                 .title = "DMD gradient, mean size (steady is good)",
                                 .y_label = "mean |gradient|",
                                 .log_y = true,
                                 .noisy = true}));
  }
  plots.push_back(
      metric_plot(run, {.key = "lr", .title = "Learning rate", .y_label = "weight change / step"}));
  return html_section({.heading = "Losses",
                       .meaning = "Pale: every step; strong: its moving mean. " +
                                  validation_sentence(run.metric("validation_loss")),
                       .content = plot_grid(plots)});
}

std::string health_section(const RunContents& run) {
  if (run.metric("loss") == nullptr) return "";
  HealthMonitor monitor;
  std::string content;
  for (const HealthAlarm& alarm : replay_health(run.metrics, monitor)) {
    content += absence(alarm.message);
  }
  if (content.empty()) content = "<p>No alarm of the losses and gradients.</p>";
  // What the samples show belongs beside it: a calm loss curve says nothing about them.
  for (const std::string& concern : measured_concerns(run)) content += absence(concern);
  if (run.metric("loss_fake_score") != nullptr) {
    content +=
        plot_grid({metric_plot(run,
                               {.key = "fake_score_loss_ratio",
                                .title = "Critic loss / generator loss (a steady rise is bad)",
                                .y_label = "ratio",
                                .log_y = true}),
                   metric_plot(run,
                               {.key = "critic_lag",
                                .title = "Critic lag: loss / its lowest (1 is best)",
                                .y_label = "ratio"})});
  }
  return html_section(
      {.heading = "Health",
       .meaning = "What the run's figures say about it: gradient norms against their running "
                  "medians, where a critic is trained whether it keeps up, and what the final "
                  "samples show amiss.",
       .content = content});
}

}  // namespace vmla::analysis
