#include "analysis/report/comparison_page.h"

#include <cmath>
#include <cstdio>

#include "analysis/page/html_text.h"
#include "analysis/page/svg_plot.h"
#include "model/io/atomic_file.h"
#include "model/io/error.h"

namespace vmla::analysis {
namespace {

std::string csv_number(std::optional<double> value) {
  if (!value || !std::isfinite(*value)) return "";
  char text[40];
  std::snprintf(text, sizeof text, "%.9g", *value);
  return text;
}

Series trace_line(const std::string& label, const TraceCurve& curve, size_t colour) {
  Series line{label, {}, {}, series_colour(colour), false, false, true};
  for (const TracePoint& point : curve) {
    line.x.push_back(static_cast<double>(point.until));
    line.y.push_back(point.mean);
  }
  return line;
}

PlotOptions plot_options(const std::string& name) {
  PlotOptions options;
  options.title = name;
  options.x_label = "step (points are means up to it)";
  options.log_x = true;
  options.log_y = name != "rank_share";
  options.height = 260;
  return options;
}

std::string settings_html(const std::vector<std::string>& lines) {
  std::string list;
  for (const std::string& line : lines) list += "<li>" + escape_html(line) + "</li>";
  return lines.empty() ? "" : "<p>Settings that differ:</p><ul>" + list + "</ul>";
}

std::string stage_html(const RunPair& pair) {
  std::vector<std::string> plots;
  for (const std::string& name : curve_names(pair)) {
    std::vector<Series> lines;
    for (const auto& [label, run] : {std::pair{"A", &pair.a}, {"B", &pair.b}}) {
      const auto curve = run->curves.find(name);
      if (curve != run->curves.end())
        lines.push_back(trace_line(label, curve->second, label[0] == 'A' ? 0 : 1));
    }
    plots.push_back(line_plot(lines, plot_options(name)));
  }
  std::vector<std::vector<std::string>> rows;
  for (const FinalFigure& figure : final_figures()) {
    const auto a = pair.a.final_figure(figure.name), b = pair.b.final_figure(figure.name);
    if (a || b) rows.push_back({figure.name, cell(a), cell(b)});
  }
  return section(
      "Stage " + pair.a.stage,
      "A: " + escape_html(described(pair.a)) + "<br>B: " + escape_html(described(pair.b)),
      plot_grid(plots) + "<h3></h3>" + table({"final figure", "A", "B"}, rows) +
          settings_html(differing_settings(pair.a.settings, pair.b.settings)));
}

std::string stage_html(const ReferenceCheck& check) {
  std::vector<std::string> plots;
  for (const auto& [name, band] : check.reference.curves) {
    PlotOptions options = plot_options(name);
    PlotBand area{"band", {}, {}, {}, series_colour(2)};
    Series mean{"mean of the reference", {}, {}, series_colour(2), true, false, false};
    for (const BandPoint& point : band) {
      for (std::vector<double>* x : {&area.x, &mean.x})
        x->push_back(static_cast<double>(point.until));
      area.low.push_back(point.low);
      area.high.push_back(point.high);
      mean.y.push_back(point.mean);
    }
    options.bands.push_back(std::move(area));
    std::vector<Series> lines = {std::move(mean)};
    const auto curve = check.run.curves.find(name);
    if (curve != check.run.curves.end()) lines.push_back(trace_line("this run", curve->second, 0));
    plots.push_back(line_plot(lines, options));
  }
  std::vector<std::vector<std::string>> rows;
  for (const auto* verdicts : {&check.verdict.curves, &check.verdict.finals}) {
    for (const BandVerdict& v : *verdicts) {
      rows.push_back({v.name,
                      !v.measured() ? "–"
                      : v.inside    ? "<span class=\"yes\">✓ healthy</span>"
                                    : "<span class=\"no\">✗ outside</span>",
                      v.band.until > 0 ? formatted("{}", v.band.until) : "end",
                      cell(v.value),
                      band_text(v.band)});
    }
  }
  return section(
      "Stage " + check.run.stage,
      formatted("{}<br>against {}, {} runs",
                escape_html(described(check.run)),
                escape_html(check.reference_name),
                check.reference.runs),
      plot_grid(plots) + "<h3></h3>" + table({"figure", "", "step", "this run", "band"}, rows) +
          settings_html(differing_settings(check.run.settings, check.reference.settings)));
}

void write_files(const std::filesystem::path& out,
                 const std::string& csv,
                 const std::string& body,
                 const std::string& subtitle) {
  std::filesystem::create_directories(out);
  io::write_file_atomically(out / "comparison.csv", csv);
  io::write_file_atomically(out / "comparison.html", html_page("Comparison", subtitle, body));
}

}  // namespace

void write_comparison(const std::vector<RunPair>& stages, const std::filesystem::path& out) {
  std::string csv = "stage,figure,until,a,b\n", body;
  for (const RunPair& pair : stages) {
    for (const std::string& name : curve_names(pair)) {
      for (const int64_t step : steps_of(pair, name)) {
        csv += formatted("{},{},{},{},{}\n",
                         pair.a.stage,
                         name,
                         step,
                         csv_number(pair.a.at(name, step)),
                         csv_number(pair.b.at(name, step)));
      }
    }
    for (const FinalFigure& figure : final_figures()) {
      const auto a = pair.a.final_figure(figure.name), b = pair.b.final_figure(figure.name);
      if (a || b)
        csv +=
            formatted("{},{},end,{},{}\n", pair.a.stage, figure.name, csv_number(a), csv_number(b));
    }
    body += stage_html(pair);
  }
  write_files(out, csv, body, "two runs side by side");
}

void write_comparison(const std::vector<ReferenceCheck>& stages, const std::filesystem::path& out) {
  std::string csv = "stage,figure,until,value,mean,low,high,inside\n", body;
  const auto row = [&](const std::string& stage,
                       const std::string& name,
                       const std::string& until,
                       std::optional<double> value,
                       const BandPoint& band,
                       bool inside) {
    csv += formatted("{},{},{},{},{},{},{},{}\n",
                     stage,
                     name,
                     until,
                     csv_number(value),
                     csv_number(band.mean),
                     csv_number(band.low),
                     csv_number(band.high),
                     inside ? "1" : "0");
  };
  bool healthy = true;
  for (const ReferenceCheck& check : stages) {
    for (const auto& [name, band] : check.reference.curves) {
      for (const BandPoint& point : band) {
        const auto value = check.run.at(name, point.until);
        if (!value) continue;
        row(check.run.stage,
            name,
            formatted("{}", point.until),
            value,
            point,
            *value >= point.low && *value <= point.high);
      }
    }
    for (const BandVerdict& v : check.verdict.finals) {
      if (v.measured()) row(check.run.stage, v.name, "end", v.value, v.band, v.inside);
    }
    body += stage_html(check);
    healthy = healthy && check.verdict.healthy();
  }
  write_files(out, csv, body, healthy ? "healthy" : "outside its band");
}

}  // namespace vmla::analysis
