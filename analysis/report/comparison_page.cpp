#include "analysis/report/comparison_page.h"

#include <cmath>

#include "analysis/page/html_text.h"
#include "analysis/page/plot_style.h"
#include "analysis/page/svg_plot.h"
#include "model/io/atomic_file.h"
#include "model/io/error.h"

namespace vmla::analysis {
namespace {

constexpr char kEnd[] = "end";  // the "step" of a final figure

std::string csv_number(std::optional<double> value) {
  return value && std::isfinite(*value) ? formatted("{:.9g}", *value) : "";
}

Series trace_line(const TraceCurve& curve, const std::string& label, const std::string& colour) {
  Series line{.label = label, .colour = colour, .markers = true};
  for (const TracePoint& point : curve) {
    line.x.push_back(static_cast<double>(point.until));
    line.y.push_back(point.mean);
  }
  return line;
}

PlotOptions plot_options(const std::string& curve) {
  const bool loss = curve.starts_with("loss") || curve.starts_with("validation_loss");
  const bool norm = curve.starts_with("grad_norm");
  return {.title = loss ? curve + " (down is better)" : curve,
          .x_label = "step (points are means up to it)",
          .y_label = loss                    ? "mean squared error"
                     : norm                  ? "norm over all weights"
                     : curve == "rank_share" ? "share of the budget"
                                             : "mean |gradient|",
          .log_x = true,
          .log_y = curve != "rank_share",
          .height = 260};
}

std::string settings_html(const std::vector<std::string>& lines) {
  if (lines.empty()) return "";
  std::string list;
  for (const std::string& line : lines) list += formatted("<li>{}</li>", escape_html(line));
  return formatted("<p>Settings that differ:</p><ul>{}</ul>", list);
}

// What the figure is, and whether more of it is better.
std::string better_text(const std::string& name) {
  switch (worse_of(name)) {
    case FinalFigure::Worse::kBelow:
      return "↑ more";
    case FinalFigure::Worse::kAbove:
      return "↓ less";
    case FinalFigure::Worse::kBoth:
      return name == "losses.validation_loss" ? "↓ less" : "–";
  }
  return "–";
}

// B − A, marked by which of the two is better.
std::string change_text(const FigurePair& figure) {
  if (!figure.a || !figure.b) return "–";
  const double change = *figure.b - *figure.a;
  std::string text = (change > 0 ? "+" : "") + number_text(change);
  const std::string better = better_text(figure.name);
  if (change == 0 || better == "–") return text;
  const bool good = (change > 0) == (better == "↑ more");
  return formatted(R"(<span class="{}">{}</span>)", good ? "yes" : "no", text);
}

// "dmd_svd and dmd_random"; of pipelines the names of their folders.
std::string page_title(const RunPair& pair) {
  const auto [a, b] = run_labels(pair);
  return formatted("Comparison of {} and {}", a, b);
}

std::string curve_plot(const RunPair& pair, const std::string& name) {
  std::vector<Series> lines;
  const auto add = [&](const RunTrace& run, const std::string& label, size_t colour) {
    const auto curve = run.curves.find(name);
    if (curve != run.curves.end())
      lines.push_back(trace_line(curve->second, label, series_colour(colour)));
  };
  const auto [label_a, label_b] = run_labels(pair);
  add(pair.a, "A: " + label_a, 0);
  add(pair.b, "B: " + label_b, 1);
  return line_plot(lines, plot_options(name));
}

std::string stage_html(const RunPair& pair) {
  const auto [label_a, label_b] = run_labels(pair);
  std::vector<std::string> plots;
  for (const std::string& name : curve_names(pair)) plots.push_back(curve_plot(pair, name));
  const std::vector<Column<FigurePair>> columns = {
      {"final figure", [](const FigurePair& figure) { return escape_html(figure.name); }},
      {"better", [](const FigurePair& figure) { return escape_html(better_text(figure.name)); }},
      {"A: " + escape_html(label_a),
       [](const FigurePair& figure) { return number_text(figure.a); }},
      {"B: " + escape_html(label_b),
       [](const FigurePair& figure) { return number_text(figure.b); }},
      {"B − A", [](const FigurePair& figure) { return change_text(figure); }}};
  return html_section(
      {.heading = formatted("Stage {}", pair.a.stage),
       .meaning = formatted(
           "A: {}<br>B: {}", escape_html(described(pair.a)), escape_html(described(pair.b))),
       .content = plot_grid(plots) + kGap + table_of(columns, final_pairs(pair)) +
                  settings_html(differing_settings(pair.a.settings, pair.b.settings))});
}

// The band of a curve, its mean, and the run's own curve if it has one.
std::string band_plot(const ReferenceCheck& check,
                      const std::string& name,
                      const std::vector<BandPoint>& points) {
  PlotBand band{.label = "band", .colour = series_colour(2)};
  Series mean{.label = "mean of the reference", .colour = series_colour(2), .dashed = true};
  for (const BandPoint& point : points) {
    band.x.push_back(static_cast<double>(point.until));
    band.low.push_back(point.low);
    band.high.push_back(point.high);
    mean.x.push_back(static_cast<double>(point.until));
    mean.y.push_back(point.mean);
  }
  PlotOptions options = plot_options(name);
  options.bands.push_back(std::move(band));
  std::vector<Series> lines = {std::move(mean)};
  const auto curve = check.run.curves.find(name);
  if (curve != check.run.curves.end())
    lines.push_back(trace_line(curve->second, "this run", series_colour(0)));
  return line_plot(lines, options);
}

std::string verdict_table(const ReferenceVerdict& verdict) {
  std::vector<BandVerdict> rows = verdict.curves;
  rows.insert(rows.end(), verdict.finals.begin(), verdict.finals.end());
  const std::vector<Column<BandVerdict>> columns = {
      {"figure", [](const BandVerdict& row) { return row.name; }},
      {"",
       [](const BandVerdict& row) {
         return row.measured() ? verdict_mark(row.inside, row.inside ? "healthy" : "outside") : "–";
       }},
      {"step",
       [](const BandVerdict& row) {
         return row.band.until > 0 ? formatted("{}", row.band.until) : kEnd;
       }},
      {"this run", [](const BandVerdict& row) { return number_text(row.value); }},
      {"band", [](const BandVerdict& row) { return band_text(row.band); }}};
  return table_of(columns, rows);
}

std::string stage_html(const ReferenceCheck& check) {
  std::vector<std::string> plots;
  for (const auto& [name, points] : check.reference.curves)
    plots.push_back(band_plot(check, name, points));
  return html_section(
      {.heading = formatted("Stage {}", check.run.stage),
       .meaning = formatted("{}<br>against {}, {} runs",
                            escape_html(described(check.run)),
                            escape_html(check.reference_name),
                            check.reference.runs),
       .content = plot_grid(plots) + kGap + verdict_table(check.verdict) +
                  settings_html(differing_settings(check.run.settings, check.reference.settings))});
}

std::string stage_csv(const RunPair& pair) {
  std::string csv;
  const auto add = [&](const std::string& figure,
                       const std::string& until,
                       std::optional<double> a,
                       std::optional<double> b) {
    csv += formatted("{},{},{},{},{}\n", pair.a.stage, figure, until, csv_number(a), csv_number(b));
  };
  for (const std::string& name : curve_names(pair)) {
    for (const int64_t step : steps_of(pair, name))
      add(name, formatted("{}", step), pair.a.at(name, step), pair.b.at(name, step));
  }
  for (const FigurePair& figure : final_pairs(pair)) add(figure.name, kEnd, figure.a, figure.b);
  return csv;
}

std::string stage_csv(const ReferenceCheck& check) {
  std::string csv;
  const auto add =
      [&](const std::string& figure, double value, const BandPoint& band, bool inside) {
        csv += formatted("{},{},{},{},{},{},{},{}\n",
                         check.run.stage,
                         figure,
                         band.until > 0 ? formatted("{}", band.until) : kEnd,
                         csv_number(value),
                         csv_number(band.mean),
                         csv_number(band.low),
                         csv_number(band.high),
                         inside ? "1" : "0");
      };
  for (const auto& [name, band] : check.reference.curves) {
    for (const BandPoint& point : band) {
      if (const auto value = check.run.at(name, point.until))
        add(name, *value, point, *value >= point.low && *value <= point.high);
    }
  }
  for (const BandVerdict& verdict : check.verdict.finals) {
    if (verdict.measured()) add(verdict.name, *verdict.value, verdict.band, verdict.inside);
  }
  return csv;
}

void write_files(const std::filesystem::path& out, const std::string& csv, const Page& page) {
  std::filesystem::create_directories(out);
  io::write_file_atomically(out / "comparison.csv", csv);
  io::write_file_atomically(out / "comparison.html", html_page(page));
}

}  // namespace

void write_comparison(const std::vector<RunPair>& stages, const std::filesystem::path& out) {
  std::string csv = "stage,figure,until,a,b\n", body;
  for (const RunPair& pair : stages) {
    csv += stage_csv(pair);
    body += stage_html(pair);
  }
  write_files(out,
              csv,
              {.title = stages.empty() ? "Comparison" : page_title(stages.front()),
               .subtitle = "two runs side by side; B − A is green where B is better, red where "
                           "A is, by whatever amount: compare it with what seeds do",
               .body = body});
}

void write_comparison(const std::vector<ReferenceCheck>& stages, const std::filesystem::path& out) {
  std::string csv = "stage,figure,until,value,mean,low,high,inside\n", body;
  bool healthy = true;
  for (const ReferenceCheck& check : stages) {
    csv += stage_csv(check);
    body += stage_html(check);
    healthy = healthy && check.verdict.healthy();
  }
  write_files(
      out,
      csv,
      {.title = "Comparison", .subtitle = healthy ? "healthy" : "outside its band", .body = body});
}

}  // namespace vmla::analysis
