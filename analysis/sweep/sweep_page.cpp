#include <algorithm>
#include <cmath>

#include "analysis/page/html_text.h"
#include "analysis/page/plot_style.h"
#include "analysis/page/short_number.h"
#include "analysis/sweep/sweep_plots.h"
#include "analysis/sweep/sweep_results.h"
#include "analysis/sweep/sweep_tables.h"
#include "model/io/atomic_file.h"
#include "model/io/counted.h"
#include "model/io/error.h"

namespace vmla::analysis {
namespace {

/// From how many seeds on an interval is shown without a word of caution.
constexpr size_t kEnoughSeeds = 5;

/// "0.324 ± 0.012 (5)"; where seeds never reached the target the median, and how many did not.
std::string spread_cell(const SeedSpread& spread) {
  if (spread.n + spread.never == 0) return "–";
  if (spread.never > 0) {
    const std::string never = formatted("{} of {} never", spread.never, spread.n + spread.never);
    return spread.median ? formatted("median {}, {}", short_number(*spread.median), never) : never;
  }
  std::string text = short_number(spread.mean);
  if (spread.sd) text += " ± " + short_number(*spread.sd);
  return formatted("{} ({})", text, spread.n);
}

/// "+0.0147 (+0.0021 to +0.0273; 5)", bold where the interval excludes zero.
std::string difference_cell(const PairedDifference& difference) {
  const auto with_sign = [](double value) { return (value > 0 ? "+" : "") + short_number(value); };
  std::string text = "–";
  if (difference.mean) {
    text = with_sign(*difference.mean);
    text += difference.low ? formatted(" ({} to {}; {})",
                                       with_sign(*difference.low),
                                       with_sign(*difference.high),
                                       difference.n)
                           : formatted(" ({})", difference.n);
    if (difference.excludes_zero()) text = "<b>" + text + "</b>";
  }
  if (difference.left_out > 0) text += formatted(", {} left out", difference.left_out);
  return text;
}

std::string cell_table(const SweepResults& results) {
  std::vector<std::string> heads = {"cell", "done"};
  if (!results.choices.empty()) heads.push_back(escape_html(results.tuned_key));
  for (const SweepFigureSpec& figure : results.figures) heads.push_back(escape_html(figure.name));
  std::vector<std::vector<std::string>> rows;
  for (size_t i = 0; i < results.cells.size(); ++i) {
    size_t done = 0;
    for (const SweepRunResult& run : results.runs) done += run.cell == i && run.done ? 1 : 0;
    std::vector<std::string>& row = rows.emplace_back();
    row.push_back(escape_html(results.cells[i].name));
    row.push_back(formatted("{} of {}", done, results.seeds.size()));
    if (!results.choices.empty()) row.push_back(escape_html(results.cells[i].tuned));
    for (size_t figure = 0; figure < results.figures.size(); ++figure)
      row.push_back(spread_cell(spread_of(results.figures_of(i, figure))));
  }
  return table(heads, rows);
}

std::string cell_section(const SweepResults& results) {
  return html_section(
      {.heading = "The cells",
       .meaning =
           "Mean ± standard deviation over the seeds (how many). Of steps to a target that "
           "not every seed reached there is no mean: the median, in which such a seed counts "
           "as above all others, and how many never reached it.",
       .content = cell_table(results)});
}

std::string plot_section(const std::vector<SweepPlot>& named) {
  if (named.empty()) return "";
  std::vector<std::string> plots;
  for (const SweepPlot& plot : named) plots.push_back(plot.svg);
  return html_section({.heading = "Against what is swept",
                       .meaning = "The line is the mean over the seeds, the band a standard "
                                  "deviation to each side, a pale dot one run.",
                       .content = plot_grid(plots)});
}

std::string difference_section(const SweepResults& results) {
  std::vector<std::vector<std::string>> rows;
  for (size_t i = 0; i < results.cells.size(); ++i) {
    if (!results.cells[i].baseline) continue;
    std::vector<std::string>& row = rows.emplace_back();
    row.push_back(escape_html(results.cells[i].name));
    row.push_back(escape_html(results.cells[*results.cells[i].baseline].name));
    for (size_t figure = 0; figure < results.figures.size(); ++figure)
      row.push_back(difference_cell(results.difference_of(i, figure)));
  }
  if (rows.empty()) return "";
  std::vector<std::string> heads = {"cell", "less"};
  for (const SweepFigureSpec& figure : results.figures) heads.push_back(escape_html(figure.name));
  const std::string caution =
      results.seeds.size() < kEnoughSeeds
          ? formatted(
                " With {} seeds, fewer than {}, the intervals are wide and lean on the "
                "differences being normal.",
                results.seeds.size(),
                kEnoughSeeds)
          : "";
  return html_section(
      {.heading = "Differences at equal seeds",
       .meaning = "Mean of the differences seed by seed (95 % confidence interval, Student's t; "
                  "number of pairs); bold where the interval excludes zero. Left out: pairs of "
                  "which a run failed or never reached the target." +
                  caution,
       .content = table(heads, rows)});
}

std::string choice_section(const SweepResults& results) {
  if (results.choices.empty()) return "";
  std::vector<std::string> heads = {"for"};
  for (const std::string& value : results.tuned_values) heads.push_back(escape_html(value));
  heads.push_back("chosen");
  std::vector<std::vector<std::string>> rows;
  for (const SweepChoice& choice : results.choices) {
    std::vector<std::string>& row = rows.emplace_back();
    row.push_back(escape_html(choice.group));
    for (const std::vector<double>& figures : choice.figures) {
      std::vector<SeedFigure> seeds;
      for (const double figure : figures)
        seeds.push_back(std::isfinite(figure) ? SeedFigure{.value = figure} : SeedFigure{});
      row.push_back(spread_cell(spread_of(seeds)));
    }
    row.push_back(choice.chosen ? escape_html(results.tuned_values[*choice.chosen]) : "none");
  }
  return html_section(
      {.heading = results.tuned_key + " chosen beforehand",
       .meaning = formatted("{} on {} other seeds: mean ± standard deviation (how many).",
                            escape_html(results.tune_figure),
                            results.tune_seeds.size()),
       .content = table(heads, rows)});
}

std::string failure_section(const SweepResults& results) {
  std::vector<std::vector<std::string>> rows;
  for (const SweepRunResult& run : results.runs) {
    if (run.failure.empty()) continue;
    rows.push_back({escape_html(results.cells[run.cell].name),
                    formatted("{}", run.seed),
                    escape_html(run.failure)});
  }
  if (rows.empty()) return "";
  return html_section({.heading = "Runs that failed",
                       .meaning = "They are in no mean and no difference.",
                       .content = table({"cell", "seed", "why"}, rows)});
}

/// "7 cells, 5 seeds; 12 of 35 runs are done, 1 failed": says how much the tables stand on.
std::string extent_of(const SweepResults& results) {
  const auto count = [&](auto&& is) { return std::ranges::count_if(results.runs, is); };
  const auto failed = count([](const SweepRunResult& run) { return !run.failure.empty(); });
  return formatted("{}, {}; {} of {} runs are done{}",
                   io::counted(results.cells.size(), "cell"),
                   io::counted(results.seeds.size(), "seed"),
                   count([](const SweepRunResult& run) { return run.done; }),
                   results.runs.size(),
                   failed == 0 ? "" : formatted(", {} failed", failed));
}

std::string run_section(const SweepResults& results) {
  std::vector<std::string> heads = {"run", "seed"};
  for (const SweepFigureSpec& figure : results.figures) heads.push_back(escape_html(figure.name));
  std::vector<std::vector<std::string>> rows;
  for (const SweepRunResult& run : results.runs) {
    if (!run.done) continue;
    std::vector<std::string>& row = rows.emplace_back();
    const std::string name = escape_html(results.cells[run.cell].name);
    row.push_back(
        run.folder.empty()
            ? name
            : formatted(R"(<a href="{}/report.html">{}</a>)", escape_html(run.folder), name));
    row.push_back(formatted("{}", run.seed));
    for (const SeedFigure& figure : run.figures)
      row.push_back(figure.never ? "never" : short_number(figure.value));
  }
  return html_section(
      {.heading = "Every run",
       .meaning = "Each with a link is a run folder of its own, with a report. The others were "
                  "trained elsewhere; their figures come from the tables that --reuse named.",
       .content = rows.empty() ? absence("None is done yet.") : table(heads, rows)});
}

}  // namespace

void write_sweep(const SweepResults& results, const std::filesystem::path& folder) {
  io::write_file_atomically(folder / "sweep.json", sweep_json(results));
  io::write_file_atomically(folder / "table.csv", sweep_table_csv(results));
  io::write_file_atomically(folder / "curves.csv", sweep_curves_csv(results));
  if (!results.choices.empty())
    io::write_file_atomically(folder / "tune.csv", sweep_tune_csv(results));
  io::write_file_atomically(folder / "summary.csv", sweep_summary_csv(results));
  io::write_file_atomically(folder / "differences.csv", sweep_differences_csv(results));
  const std::vector<SweepPlot> plots = sweep_plots(results);
  std::filesystem::create_directories(folder / "plots");
  for (const SweepPlot& plot : plots)
    io::write_file_atomically(folder / "plots" / (plot.name + ".svg"), standalone_svg(plot.svg));
  const std::string body = failure_section(results) + cell_section(results) +
                           difference_section(results) + plot_section(plots) +
                           choice_section(results) + run_section(results);
  io::write_file_atomically(
      folder / "sweep.html",
      html_page({.title = "Sweep " + results.name, .subtitle = extent_of(results), .body = body}));
}

}  // namespace vmla::analysis
