#include "analysis/report.h"

#include <map>

#include "analysis/html_text.h"
#include "analysis/report_sections.h"
#include "analysis/svg_plot.h"
#include "model/io/atomic_file.h"
#include "model/io/error.h"

namespace vmla::analysis {
namespace {

std::string stage_title(const RunContents& run) {
  const std::string stage = run.setting("stage");
  return stage.empty() || stage == run.name ? run.name : run.name + " (" + stage + ")";
}

std::string link_to(const std::string& name) {
  return "<a href=\"" + escape_html(name) + "/report.html\">" + escape_html(name) + "</a>";
}

double last_value(const RunContents& run, const std::string& key) {
  const MetricSeries* series = run.metric(key);
  return series != nullptr ? series->values.back() : NAN;
}

// Values that a stage lacks stay a dash, so that stages of different kinds share one table.
std::string comparison_table(const std::vector<RunContents>& stages) {
  std::vector<std::vector<std::string>> rows;
  for (const RunContents& run : stages) {
    const bool ranked = run.ranks && !run.ranks->steps().empty();
    std::optional<double> erased = run.figure("without_cache.retention.identification");
    if (!erased) erased = run.figure("retention_without_cache.identification");
    rows.push_back(
        {link_to(run.name),
         run.ranks && !run.ranks->init().empty() ? escape_html(run.ranks->init()) : "–",
         short_number(last_value(run, "validation_loss")),
         percent(run.figure("adherence.colour")),
         percent(run.figure("adherence.direction")),
         percent(run.figure("adherence.shape")),
         percent(run.figure("retention.identification")),
         percent(erased),
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

// Stages of one objective are comparable: their losses share a plot.
std::vector<std::string> comparison_plots(const std::vector<RunContents>& stages) {
  std::map<std::string, std::vector<const RunContents*>> by_objective;
  for (const RunContents& run : stages) by_objective[run.setting("objective.name")].push_back(&run);
  std::vector<std::string> plots;
  for (const auto& [objective, runs] : by_objective) {
    std::string name = objective.empty() ? "" : " · " + objective;
    std::replace(name.begin(), name.end(), '_', ' ');
    for (const auto& [key, title] :
         {std::pair{"loss", "Training loss"}, {"validation_loss", "Validation loss"}}) {
      std::vector<Series> plot;
      for (size_t i = 0; i < runs.size(); ++i) add_curve(plot, *runs[i], key, i);
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

std::string rank_comparison(const std::vector<RunContents>& stages) {
  std::vector<Series> shares;
  std::vector<std::string> spectra;
  double first = INFINITY, last = -INFINITY, null = 0;
  for (const RunContents& run : stages) {
    if (!run.ranks || run.ranks->steps().empty()) continue;
    const RankLog& ranks = *run.ranks;
    Series line{run.name,
                {ranks.steps().begin(), ranks.steps().end()},
                {},
                series_colour(shares.size()),
                false,
                false,
                ranks.steps().size() < 40};
    for (size_t i = 0; i < ranks.steps().size(); ++i)
      line.y.push_back(100 * mean_rank_share(ranks, i));
    first = std::min(first, line.x.front());
    last = std::max(last, line.x.back());
    null = std::max(null, null_rank_share(ranks));
    shares.push_back(std::move(line));
    spectra.push_back(spectrum_plot(ranks, "Spectra at the last step · " + run.name));
  }
  if (shares.empty()) return "";
  if (null > 0)
    shares.push_back({"random product",
                      {first, last},
                      {100 * null, 100 * null},
                      "var(--null)",
                      true,
                      false,
                      false});
  PlotOptions options;
  options.title = "99 %-energy rank as a share of the budget, mean of the layers";
  options.x_label = "step";
  options.y_label = "%";
  options.height = 270;
  std::vector<std::string> plots = {line_plot(shares, options)};
  plots.insert(plots.end(), spectra.begin(), spectra.end());
  return section("Effective rank",
                 "Does the way the latents were initialised show in the rank that training ends "
                 "with? Curves that meet say that "
                 "the bottleneck decides, curves that stay apart that the starting weights do. The "
                 "dashed line is a product of "
                 "random matrices of the same shape.",
                 plot_grid(plots));
}

std::string stage_sections(const RunContents& run) {
  std::string out = "<section><h2>Stage " + link_to(run.name) + "</h2><p class=\"meaning\">" +
                    escape_html(run_subtitle(run)) + "</p>" + figure_cards(key_figures(run)) +
                    "</section>\n";
  out += sample_section(run);
  return out + problem_section(run);
}

}  // namespace

void write_run_report(const std::filesystem::path& run_dir) {
  const RunContents run = read_run(run_dir);
  const auto figures = key_figures(run);
  const std::string body = (figures.empty() ? "" : section("Summary", "", figure_cards(figures))) +
                           sample_section(run) + measure_section(run) + loss_section(run) +
                           rank_section(run) + speed_section(run) + config_section(run) +
                           problem_section(run);
  io::write_file_atomically(run_dir / "report.html",
                            html_page(stage_title(run), run_subtitle(run), body));
}

void write_pipeline_report(const std::filesystem::path& run_dir) {
  std::vector<RunContents> stages;
  for (const std::string& name : stage_names(run_dir)) stages.push_back(read_run(run_dir / name));
  std::string body;
  if (stages.empty()) {
    body = absence("No stage has started yet.");
  } else {
    body =
        section(
            "The stages compared",
            "Measured on clips sampled from held-out captions; chance is 16.7 % for colour, 25 % "
            "for direction, 33.3 % for "
            "shape and 50 % for retention, which should fall to chance when the cache is zeroed.",
            comparison_table(stages)) +
        section("Losses",
                "Stages with the same objective share a plot; with the same seed they saw the same "
                "clips and noise.",
                plot_grid(comparison_plots(stages))) +
        rank_comparison(stages);
    for (const RunContents& run : stages) body += stage_sections(run);
  }
  const std::string name = read_run(run_dir).name;
  io::write_file_atomically(
      run_dir / "report.html",
      html_page(
          "Pipeline " + name, cat(stages.size(), stages.size() == 1 ? " stage" : " stages"), body));
}

}  // namespace vmla::analysis
