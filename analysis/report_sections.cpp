#include "analysis/report_sections.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "analysis/html_text.h"
#include "analysis/sample_gallery.h"
#include "analysis/svg_plot.h"
#include "model/io/error.h"

namespace vmla::analysis {
namespace {

constexpr int64_t kMostVideoBytes = 24 << 20;  // of one page

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

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::nth_element(values.begin(),
                   values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2),
                   values.end());
  return values[values.size() / 2];
}

double smoothing_span(const MetricSeries& series) {
  return std::max(2.0, static_cast<double>(series.values.size()) / 40);
}

// A noisy curve: pale itself, its moving mean in full colour.
void add_noisy(std::vector<Series>& plot,
               const MetricSeries& series,
               const std::string& label,
               const std::string& colour) {
  plot.push_back({"", series.steps, series.values, colour, false, true, false});
  plot.push_back({label,
                  series.steps,
                  smoothed(series.values, smoothing_span(series)),
                  colour,
                  false,
                  false,
                  false});
}

std::string single_plot(const RunContents& run,
                        const std::string& key,
                        const std::string& title,
                        bool log_y,
                        bool noisy) {
  std::vector<Series> plot;
  if (const MetricSeries* series = run.metric(key)) {
    if (noisy) {
      add_noisy(plot, *series, "", series_colour(0));
    } else {
      plot.push_back({"", series->steps, series->values, series_colour(0), false, false, false});
    }
  }
  PlotOptions options;
  options.title = title;
  options.x_label = "step";
  options.log_y = log_y;
  options.height = 240;
  return line_plot(plot, options);
}

std::string loss_plot(const RunContents& run) {
  std::vector<Series> plot;
  size_t colour = 0;
  for (const auto& [key, series] : run.metrics) {
    if (key != "loss" && key.rfind("loss_", 0) != 0) continue;
    add_noisy(plot, series, key == "loss" ? "training" : key.substr(5), series_colour(colour));
    colour += colour == 0 ? 2 : 1;  // the second colour is the validation's
  }
  if (const MetricSeries* validation = run.metric("validation_loss")) {
    plot.push_back({"validation",
                    validation->steps,
                    validation->values,
                    series_colour(1),
                    false,
                    false,
                    true});
  }
  PlotOptions options;
  options.title = "Loss";
  options.x_label = "step";
  options.log_y = true;
  options.height = 240;
  return line_plot(plot, options);
}

// validation_loss_t0 .. tN: the loss by timestep, from clean (first) to noise (last).
std::string time_bin_plot(const RunContents& run) {
  std::vector<const MetricSeries*> bins;
  while (const MetricSeries* bin = run.metric(cat("validation_loss_t", bins.size())))
    bins.push_back(bin);
  if (bins.empty()) return "";
  std::vector<Series> plot;
  const auto count = static_cast<int64_t>(bins.size());
  for (size_t i = 0; i < bins.size(); ++i) {
    const auto bin = static_cast<int64_t>(i);
    plot.push_back({cat("t ", 1000 * bin / count, "–", 1000 * (bin + 1) / count),
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

std::vector<double> steps_of(const RankLog& ranks) {
  return {ranks.steps().begin(), ranks.steps().end()};
}

// One line a layer of some figure of its rank, the null's dashed.
template <class Read>
std::string layer_plot(const RankLog& ranks,
                       const std::string& title,
                       const std::string& label,
                       const Read& read) {
  std::vector<Series> plot;
  const auto layers = static_cast<size_t>(ranks.num_layers());
  for (size_t layer = 0; layer < layers; ++layer) {
    Series line{cat("layer ", layer),
                steps_of(ranks),
                {},
                layer_colour(layer, layers),
                false,
                false,
                ranks.steps().size() < 12};
    if (layers > 8 && layer != 0 && layer + 1 != layers)
      line.label.clear();  // the scale's ends suffice
    for (const auto& measurement : ranks.measurements()) line.y.push_back(read(measurement[layer]));
    plot.push_back(std::move(line));
  }
  if (!ranks.null().empty() && !ranks.steps().empty()) {
    double null = 0;
    for (const LayerRank& layer : ranks.null())
      null += read(layer) / static_cast<double>(ranks.null().size());
    plot.push_back({"random product",
                    {steps_of(ranks).front(), steps_of(ranks).back()},
                    {null, null},
                    "var(--null)",
                    true,
                    false,
                    false});
  }
  PlotOptions options;
  options.title = title;
  options.x_label = "step";
  options.y_label = label;
  options.height = 270;
  return line_plot(plot, options);
}

std::string rank_table(const RankLog& ranks) {
  const auto cell = [](double value) { return short_number(value); };
  std::vector<std::vector<std::string>> rows;
  const auto& first = ranks.measurements().front();
  const auto& last = ranks.measurements().back();
  for (size_t i = 0; i < last.size(); ++i) {
    rows.push_back({cat("layer ", i),
                    cat(last[i].rank),
                    cell(first[i].effective.r99_fractional),
                    cell(last[i].effective.r99_fractional),
                    percent(last[i].effective.r99_fractional / static_cast<double>(last[i].rank)),
                    i < ranks.null().size() ? cell(ranks.null()[i].effective.r99_fractional) : "–",
                    cell(last[i].effective.stable_rank),
                    cell(last[i].effective.entropy_rank)});
  }
  return table({"",
                "budget d<sub>c</sub>",
                "r<sub>0.99</sub> at first",
                "r<sub>0.99</sub> at last",
                "of the budget",
                "random product",
                "stable rank",
                "entropy rank"},
               rows);
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

double mean_rank_share(const RankLog& ranks, size_t index) {
  double sum = 0;
  for (const LayerRank& layer : ranks.measurements().at(index)) {
    sum += layer.effective.r99_fractional / static_cast<double>(layer.rank);
  }
  return sum / static_cast<double>(std::max<int64_t>(ranks.num_layers(), 1));
}

double null_rank_share(const RankLog& ranks) {
  double sum = 0;
  for (const LayerRank& layer : ranks.null()) {
    sum += layer.effective.r99_fractional / static_cast<double>(layer.rank);
  }
  return ranks.null().empty() ? 0 : sum / static_cast<double>(ranks.null().size());
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
  if (const MetricSeries* loss = run.metric("loss")) {
    text += cat(" · step ", static_cast<int64_t>(loss->steps.back()));
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

std::string loss_section(const RunContents& run) {
  const MetricSeries* loss = run.metric("loss");
  if (loss == nullptr) return section("Losses", "", absence("No step has been logged yet."));
  std::string meaning = "Pale: every step; strong: its moving mean. ";
  const MetricSeries* validation = run.metric("validation_loss");
  if (validation != nullptr && validation->values.size() >= 2) {
    const double first = validation->values.front(), last = validation->values.back();
    meaning += last < first ? cat("The validation loss (held-out clips, the same noise and times "
                                  "at every visit) fell from ",
                                  short_number(first),
                                  " to ",
                                  short_number(last),
                                  ".")
                            : cat("The validation loss did not fall: ",
                                  short_number(first),
                                  " at first, ",
                                  short_number(last),
                                  " at last.");
  } else {
    meaning += "There was no validation to compare with.";
  }
  std::vector<std::string> plots = {loss_plot(run)};
  const std::string bins = time_bin_plot(run);
  if (!bins.empty()) plots.push_back(bins);
  plots.push_back(single_plot(run, "grad_norm", "Gradient norm", true, true));
  plots.push_back(single_plot(run, "lr", "Learning rate", false, false));
  return section("Losses", meaning, plot_grid(plots));
}

std::string sample_section(const RunContents& run) {
  if (run.samples.empty()) {
    return section(
        "Sampled clips",
        "",
        absence("No clip was sampled (set sample.every and sample.prompts to see some here)."));
  }
  const std::string meaning = cat("Sampled at step ",
                                  run.sample_step,
                                  ". Under a caption stands what the pixels show, read back "
                                  "without a network: ticked where it is what was asked.");
  return section("Sampled clips", meaning, sample_gallery(run.samples, kMostVideoBytes));
}

std::string measure_section(const RunContents& run) {
  std::string content;
  if (run.figure("adherence.colour")) {
    content += table({"Caption adherence", "colour", "direction", "shape", "clips"},
                     {{"sampled clips",
                       percent(run.figure("adherence.colour")),
                       percent(run.figure("adherence.direction")),
                       percent(run.figure("adherence.shape")),
                       short_number(run.figure("adherence.clips").value_or(0))},
                      {"chance", percent(1.0 / 6), percent(0.25), percent(1.0 / 3), ""}});
  }
  const auto retention_row = [&](const std::string& label, const std::string& prefix) {
    return std::vector<std::string>{label,
                                    percent(run.figure(prefix + "identification")),
                                    percent(run.figure(prefix + "size_identification")),
                                    percent(run.figure(prefix + "speed_identification")),
                                    percent(run.figure(prefix + "texture_identification")),
                                    short_number(run.figure(prefix + "clips").value_or(0))};
  };
  if (run.figure("retention.identification")) {
    std::vector<std::vector<std::string>> rows = {retention_row("with the cache", "retention.")};
    for (const char* prefix : {"without_cache.retention.", "retention_without_cache."}) {
      if (run.figure(std::string(prefix) + "identification"))
        rows.push_back(retention_row("cache zeroed", prefix));
    }
    rows.push_back({"chance", percent(0.5), percent(0.5), percent(0.5), percent(0.5), ""});
    content +=
        "<h3></h3>" +
        table({"Retention from chunk to chunk", "all traits", "size", "speed", "texture", "clips"},
              rows);
  }
  if (run.figure("motion.amount")) {
    content += "<h3></h3>" + table({"Motion", "amount", "smoothness", "jump at chunk borders"},
                                   {{"sampled clips",
                                     short_number(*run.figure("motion.amount")),
                                     short_number(run.figure("motion.smoothness").value_or(NAN)),
                                     run.figure("motion.border_jump")
                                         ? short_number(*run.figure("motion.border_jump"))
                                         : "–"}});
  }
  if (content.empty()) return "";
  return section(
      "What the samples show",
      "On held-out captions. Adherence: the share of clips that show what the caption says. "
      "Retention: how often a "
      "later chunk resembles its own first chunk more than another clip's of the same caption; "
      "only the cache can "
      "carry that. A jump of 1 means that chunk borders cannot be told from other frames.",
      content);
}

std::string spectrum_plot(const RankLog& ranks, const std::string& title) {
  std::vector<Series> plot;
  const auto add = [&](const LayerRank& layer, Series line) {
    for (size_t i = 0; i < layer.spectrum.size(); ++i) {
      line.x.push_back(static_cast<double>(i + 1));
      line.y.push_back(layer.spectrum[i] / layer.spectrum.front());
    }
    plot.push_back(std::move(line));
  };
  if (!ranks.null().empty()) {
    add(ranks.null().front(), {"random product", {}, {}, "var(--null)", true, false, false});
  }
  const auto layers = static_cast<size_t>(ranks.num_layers());
  for (size_t i = 0; i < layers && !ranks.measurements().empty(); ++i) {
    const bool in_legend = layers <= 8 || i == 0 || i + 1 == layers;
    add(ranks.measurements().back()[i],
        {in_legend ? cat("layer ", i) : "", {}, {}, layer_colour(i, layers), false, false, false});
  }
  PlotOptions options;
  options.title = title;
  options.x_label = "index i of the singular value";
  options.y_label = "s(i) / s(1)";
  options.log_y = true;
  options.height = 270;
  // Dead directions would stretch the axis over many empty decades.
  double least = 1;
  for (const Series& line : plot) {
    for (const double value : line.y) least = value > 0 ? std::min(least, value) : least;
  }
  options.y_min = std::max(least * 0.8, 1e-6);
  options.y_max = 1.15;
  return line_plot(plot, options);
}

std::string rank_section(const RunContents& run) {
  if (!run.ranks || run.ranks->steps().empty()) {
    const bool dense = run.setting("model.attention") != "mla";
    return section(
        "Effective rank",
        "",
        absence(dense ? "A dense model has no latent bottleneck, so there is no rank to track."
                      : "rank.h5 is not there: no rank has been measured yet (rank.every)."));
  }
  const RankLog& ranks = *run.ranks;
  const double first = mean_rank_share(ranks, 0),
               last = mean_rank_share(ranks, ranks.steps().size() - 1);
  const double null = null_rank_share(ranks);
  const std::string meaning =
      cat("r<sub>0.99</sub> is the least rank that holds 99 % of the energy of the map kv_b · "
          "diag(gain) · kv_a, shown with its "
          "fraction. On average it went from ",
          percent(first),
          " to ",
          percent(last),
          " of the budget",
          null > 0 ? cat("; a random product of the same shape has ", percent(null)) : "",
          ". Near the random product means that the bottleneck, not the data, sets the rank.");
  const auto r99 = [](const LayerRank& layer) { return layer.effective.r99_fractional; };
  const auto stable = [](const LayerRank& layer) { return layer.effective.stable_rank; };
  const auto entropy = [](const LayerRank& layer) { return layer.effective.entropy_rank; };
  return section("Effective rank",
                 meaning,
                 plot_grid({layer_plot(ranks, "99 %-energy rank", "rank", r99),
                            spectrum_plot(ranks, "Spectra at the last step"),
                            layer_plot(ranks, "Stable rank", "Σs²/s₁²", stable),
                            layer_plot(ranks, "Entropy rank", "exp H", entropy)}) +
                     "<h3></h3>" + rank_table(ranks));
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
      single_plot(run, "tokens_per_second", "Tokens a second", false, true)};
  if (!phases.empty())
    plots.push_back("<h3 style=\"margin-top:0\">Where a step's time goes</h3>" +
                    share_bar(phases, "ms"));
  std::string meaning =
      time != nullptr
          ? cat("A step takes ", short_number(1e3 * median(time->values)), " ms (median).")
          : "";
  if (const MetricSeries* mfu = run.metric("mfu")) {
    meaning += cat(" The model's own arithmetic runs at ",
                   percent(median(mfu->values)),
                   " of this machine's matrix-product rate.");
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
