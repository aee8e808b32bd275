#include <cmath>
#include <iterator>

#include "analysis/page/plot_style.h"
#include "analysis/page/short_number.h"
#include "analysis/page/svg_plot.h"
#include "analysis/report/adherence_figures.h"
#include "analysis/report/report_sections.h"
#include "analysis/video/drift_window.h"
#include "model/io/error.h"

namespace vmla::analysis {
namespace {

// What summary.json says of one drift figure (docs/formats.md, "Drift"); NaN and {} where it says
// nothing.
struct DriftFigureSummary {
  std::string name;
  double shift = NAN, score = NAN;
  double low = NAN, high = NAN;  // the band of real clips
  bool inside = false;
  std::vector<double> by_window = {};
};

DriftFigureSummary drift_figure(const RunContents& run, const std::string& name) {
  const std::string prefix = "drift.figures." + name + ".";
  const auto number = [&](const char* key) { return run.figure(prefix + key).value_or(NAN); };
  const std::vector<double>* values = run.figures(prefix + "by_window");
  return {.name = name,
          .shift = number("shift"),
          .score = number("score"),
          .low = number("low"),
          .high = number("high"),
          .inside = run.figure(prefix + "inside").value_or(0) != 0,
          .by_window = values != nullptr ? *values : std::vector<double>{}};
}

// The middle of each window, in seconds of video (in windows where the rate is unknown).
std::vector<double> window_times(const RunContents& run, size_t windows) {
  const auto count = static_cast<double>(windows);
  const double length = run.figure("drift.seconds").value_or(count) / count;
  std::vector<double> times;
  for (size_t i = 0; i < windows; ++i) times.push_back((static_cast<double>(i) + 0.5) * length);
  return times;
}

PlotOptions drift_options(const std::string& title, const std::string& unit) {
  return {.title = title, .x_label = "seconds of video", .y_label = unit, .height = 240};
}

// The mean area of what moves, by window; "" for runs that were measured before it was.
std::string area_by_window(const RunContents& run) {
  const std::vector<double>* shares = run.figures("drift.area_share");
  if (shares == nullptr || shares->empty()) return "";
  const std::vector<double> times = window_times(run, shares->size());
  Series sampled{.label = "sampled", .x = times, .colour = series_colour(0), .markers = true};
  for (const double share : *shares) sampled.y.push_back(100 * share);
  PlotOptions options = drift_options("Area of what moves (100 is right)", "% of real clips'");
  options.y_min = 0;
  return line_plot({sampled,
                    {.label = "real clips",
                     .x = {times.front(), times.back()},
                     .y = {100, 100},
                     .colour = series_colour(2),
                     .dashed = true}},
                   options);
}

std::string adherence_by_window(const RunContents& run) {
  std::vector<Series> lines;
  const auto add = [&](const std::string& label, const std::vector<double>* shares, size_t colour) {
    if (shares == nullptr) return;
    Series line{.label = label,
                .x = window_times(run, shares->size()),
                .colour = series_colour(colour),
                .markers = true};
    for (const double share : *shares) line.y.push_back(100 * share);
    lines.push_back(std::move(line));
  };
  add("colour", right_shares(run, "colour"), 0);
  add("direction", right_shares(run, "direction"), 1);
  add("shape", right_shares(run, "shape"), 2);
  add("a shape is there", run.figures("drift.adherence.present"), 3);
  PlotOptions options =
      drift_options("Right, of a shape that is there (up is better)", "% of videos");
  options.y_min = 0;
  options.y_max = 104;  // room for the dots of 100 %
  return line_plot(lines, options);
}

std::string figure_by_window(const RunContents& run,
                             const std::string& name,
                             const std::string& title,
                             const std::string& unit) {
  PlotOptions options = drift_options(title + " (in the band is right)", unit);
  const DriftFigureSummary figure = drift_figure(run, name);
  if (figure.by_window.empty()) return line_plot({}, options);
  const std::vector<double> times = window_times(run, figure.by_window.size());
  options.bands.push_back({.label = "real clips",
                           .x = {times.front(), times.back()},
                           .low = {figure.low, figure.low},
                           .high = {figure.high, figure.high},
                           .colour = series_colour(2)});
  return line_plot({{.label = "sampled",
                     .x = times,
                     .y = figure.by_window,
                     .colour = series_colour(0),
                     .markers = true}},
                   options);
}

std::string drift_table(const RunContents& run) {
  std::vector<DriftFigureSummary> rows;
  for (const std::string_view name : kDriftFigureNames)
    rows.push_back(drift_figure(run, std::string(name)));
  using Row = DriftFigureSummary;
  const std::vector<Column<Row>> columns = {
      {"", [](const Row& row) { return in_words(row.name); }},
      {"shift of the mean ↓,<br>half widths of the band",
       [](const Row& row) { return short_number(row.shift); }},
      {"change of a video ↓,<br>changes of a real clip",
       [](const Row& row) { return short_number(row.score); }},
      {"first window",
       [](const Row& row) {
         return row.by_window.empty() ? "–" : short_number(row.by_window.front());
       }},
      {"last window",
       [](const Row& row) {
         return row.by_window.empty() ? "–" : short_number(row.by_window.back());
       }},
      {"band of real clips",
       [](const Row& row) {
         return formatted("{} – {}", short_number(row.low), short_number(row.high));
       }},
      {"last window<br>in the band", [](const Row& row) { return verdict_mark(row.inside); }}};
  return table_of(columns, rows);
}

std::string presence_sentence(const RunContents& run) {
  const std::vector<double>* there = run.figures("drift.adherence.present");
  if (there == nullptr || there->empty()) return "";
  return formatted(
      " A shape is there in {} of the videos in the first window and in {} in the last.",
      percent(there->front()),
      percent(there->back()));
}

}  // namespace

std::string drift_section(const RunContents& run) {
  const auto score = run.figure("drift.score");
  if (!score) return "";
  const auto whole = [&](const char* key) {
    return static_cast<int64_t>(run.figure(std::string("drift.") + key).value_or(0));
  };
  const std::string meaning = formatted(
      "{} videos of {} frames, read in windows of {} beside real clips of the same captions and "
      "length. From the first window to the last their mean moves by {} half widths of the band of "
      "real clips (green) at most: {}.{} A single video changes by up to {} times what a real clip "
      "changes, which is little more than the error of reading. Motion at the end is {} of real "
      "clips'.",
      whole("clips"),
      whole("frames"),
      whole("window_frames"),
      short_number(run.figure("drift.shift")),
      run.figure("drift.within_band").value_or(0) != 0 ? "within it" : "above it, which is drift",
      presence_sentence(run),
      short_number(score),
      percent(run.figure("drift.motion_share_last")));
  std::vector<std::string> plots = {
      adherence_by_window(run),
      figure_by_window(run, "size", "Size of the shape", "fraction of the side"),
      figure_by_window(run, "motion", "Amount of motion", "levels a frame"),
      figure_by_window(run, "brightness", "Brightness", "level, 0 to 1")};
  if (std::string area = area_by_window(run); !area.empty()) plots.insert(plots.begin() + 1, area);
  return html_section({.heading = "Drift over long videos",
                       .meaning = meaning,
                       .content = plot_grid(plots) + kGap + drift_table(run)});
}

}  // namespace vmla::analysis
