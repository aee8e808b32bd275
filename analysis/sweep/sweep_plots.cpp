#include "analysis/sweep/sweep_plots.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <set>
#include <utility>

#include "analysis/page/plot_style.h"
#include "analysis/page/svg_plot.h"
#include "model/io/error.h"

namespace vmla::analysis {
namespace {

/// How many lines series_colour tells apart.
constexpr size_t kSeriesColours = 8;

std::optional<double> number_of(const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc{} && end == text.data() + text.size();
  return whole && std::isfinite(value) ? std::optional(value) : std::nullopt;
}

/// The axis with the most values that are numbers, two at least, and one other at most, which is
/// drawn as a level ("dense" among ranks); of several the first.
std::optional<size_t> numeric_axis(const SweepResults& results) {
  std::optional<size_t> best;
  size_t most = 1;
  for (size_t axis = 0; axis < results.axes.size(); ++axis) {
    std::set<double> numbers;
    std::set<std::string> words;
    for (const SweepCellResult& cell : results.cells) {
      if (cell.labels.empty()) continue;
      const auto value = number_of(cell.labels[axis]);
      value ? void(numbers.insert(*value)) : void(words.insert(cell.labels[axis]));
    }
    if (words.size() > 1 || numbers.size() <= most) continue;
    best = axis;
    most = numbers.size();
  }
  return best;
}

/// The cells of one line, by their place on the axis.
struct Line {
  std::string label;
  std::vector<std::pair<double, size_t>> cells;
};

/// A cell's place on all axes but one: "12_bits, svd_weight".
std::string place_beside(const SweepCellResult& cell, size_t axis) {
  std::string place;
  for (size_t other = 0; other < cell.labels.size(); ++other) {
    if (other != axis) place += (place.empty() ? "" : ", ") + cell.labels[other];
  }
  return place;
}

/// The combinations of the other axes, each with its cells from left to right.
std::vector<Line> lines_along(const SweepResults& results, size_t axis) {
  std::vector<Line> lines;
  for (size_t i = 0; i < results.cells.size(); ++i) {
    const SweepCellResult& cell = results.cells[i];
    if (cell.labels.empty() || !number_of(cell.labels[axis])) continue;
    const std::string label = place_beside(cell, axis);
    auto line = std::ranges::find(lines, label, &Line::label);
    if (line == lines.end()) line = lines.insert(lines.end(), Line{label, {}});
    line->cells.emplace_back(*number_of(cell.labels[axis]), i);
  }
  for (Line& line : lines) std::ranges::sort(line.cells);
  return lines;
}

/// The plot's parts for one line: mean, band of a standard deviation, and a dot a run.
void add_line(const SweepResults& results,
              size_t figure,
              const Line& line,
              const std::string& colour,
              std::vector<Series>& series,
              PlotOptions& options) {
  Series mean{.label = line.label, .colour = colour, .markers = true};
  PlotBand band{.colour = colour};
  for (const auto& [x, cell] : line.cells) {
    const std::vector<SeedFigure> figures = results.figures_of(cell, figure);
    const SeedSpread spread = spread_of(figures);
    for (const SeedFigure& one : figures) {
      if (one.value)
        series.push_back(
            {.x = {x}, .y = {*one.value}, .colour = colour, .faint = true, .markers = true});
    }
    const std::optional<double> middle = spread.mean ? spread.mean : spread.median;
    if (!middle) continue;
    mean.x.push_back(x);
    mean.y.push_back(*middle);
    band.x.push_back(x);
    band.low.push_back(*middle - spread.sd.value_or(0));
    band.high.push_back(*middle + spread.sd.value_or(0));
  }
  if (band.x.size() > 1) options.bands.push_back(std::move(band));
  series.push_back(std::move(mean));
}

/// The figure that this one is the null of ("tf.rank.r99" of "tf.rank.null_r99"), of what has no
/// structure: it is drawn beside it, and not by itself.
std::optional<size_t> tested_by(const SweepResults& results, size_t null) {
  const SweepFigureSpec& spec = results.figures[null];
  const size_t name = spec.key.rfind('.') + 1;  // 0 where there is no dot
  for (const std::string prefix : {"null_", "truncated_", "shuffled_", "gaussian_"}) {
    if (!spec.key.substr(name).starts_with(prefix)) continue;
    const std::string key = spec.key.substr(0, name) + spec.key.substr(name + prefix.size());
    const auto found = std::ranges::find_if(results.figures, [&](const SweepFigureSpec& other) {
      return other.key == key && other.stage == spec.stage && !other.target;
    });
    if (found != results.figures.end()) return static_cast<size_t>(found - results.figures.begin());
  }
  return std::nullopt;
}

/// What a null is called in the legend: "shuffled", "null".
std::string kind_of_null(const SweepFigureSpec& spec) {
  const std::string name = spec.key.substr(spec.key.rfind('.') + 1);
  return name.substr(0, name.find('_'));
}

/// The nulls of a figure along one line, their means, dashed and in the colour of nulls. Of each
/// kind only the first that is drawn is named: all lines' are of the same shapes.
void add_nulls(const SweepResults& results,
               size_t figure,
               const Line& line,
               std::vector<Series>& series) {
  for (size_t null = 0; null < results.figures.size(); ++null) {
    if (tested_by(results, null) != figure) continue;
    const std::string kind = kind_of_null(results.figures[null]);
    const bool is_named = std::ranges::find(series, kind, &Series::label) != series.end();
    Series level{.label = is_named ? "" : kind,
                 .colour = kNullColour,
                 .dashed = true,
                 .markers = line.cells.size() == 1};
    for (const auto& [x, cell] : line.cells) {
      const std::optional<double> mean = spread_of(results.figures_of(cell, null)).mean;
      if (!mean) continue;
      level.x.push_back(x);
      level.y.push_back(*mean);
    }
    if (!level.x.empty()) series.push_back(std::move(level));
  }
}

/// Whether values between which a line is drawn lie better on a logarithmic axis.
bool spans_octaves(const std::vector<Line>& lines) {
  double low = INFINITY, high = -INFINITY;
  for (const Line& line : lines) {
    for (const auto& [x, cell] : line.cells) {
      low = std::min(low, x);
      high = std::max(high, x);
    }
  }
  return low > 0 && high >= 8 * low;
}

/// Cells side by side, where no axis has numbers.
std::string cell_plot(const SweepResults& results, size_t figure, PlotOptions options) {
  std::vector<Series> series;
  for (size_t i = 0; i < results.cells.size(); ++i) {
    const double x = static_cast<double>(i + 1);
    options.marks.push_back({results.cells[i].name, x});
    add_line(results, figure, {"", {{x, i}}}, series_colour(i), series, options);
    add_nulls(results, figure, {"", {{x, i}}}, series);
  }
  options.x_label = "cell";
  return line_plot(series, options);
}

/// A dashed level from `low` to `high`.
Series level(const std::string& label, double y, double low, double high, std::string colour) {
  return {
      .label = label, .x = {low, high}, .y = {y, y}, .colour = std::move(colour), .dashed = true};
}

/// The cells that have no place on the axis, as levels over its whole length. One in the grid, such
/// as "dense" among ranks, has the colour of the line that it belongs beside.
void add_levels(const SweepResults& results,
                size_t figure,
                size_t axis,
                const std::vector<Line>& lines,
                std::vector<Series>& series) {
  double low = INFINITY, high = -INFINITY;
  for (const Line& line : lines) {
    low = std::min(low, line.cells.front().first);
    high = std::max(high, line.cells.back().first);
  }
  size_t unrelated = lines.size();
  for (size_t i = 0; i < results.cells.size(); ++i) {
    const SweepCellResult& cell = results.cells[i];
    if (!cell.labels.empty() && number_of(cell.labels[axis])) continue;
    const SeedSpread spread = spread_of(results.figures_of(i, figure));
    if (!spread.mean) continue;
    const std::string place = place_beside(cell, axis);
    const auto line =
        cell.labels.empty() ? lines.end() : std::ranges::find(lines, place, &Line::label);
    if (line == lines.end()) {
      series.push_back(level(cell.name, *spread.mean, low, high, series_colour(unrelated++)));
    } else {
      const std::string label = (place.empty() ? "" : place + ", ") + cell.labels[axis];
      const auto index = static_cast<size_t>(line - lines.begin());
      series.push_back(level(label, *spread.mean, low, high, series_colour(index)));
    }
  }
}

/// The mean of the curves at the steps that all of them have.
Series mean_curve(const std::vector<const MetricSeries*>& curves) {
  std::map<double, std::vector<double>> by_step;
  for (const MetricSeries* curve : curves) {
    for (size_t i = 0; i < curve->steps.size(); ++i)
      by_step[curve->steps[i]].push_back(curve->values[i]);
  }
  Series mean;
  for (const auto& [step, values] : by_step) {
    if (values.size() != curves.size()) continue;
    double sum = 0;
    for (const double value : values) sum += value;
    mean.x.push_back(step);
    mean.y.push_back(sum / static_cast<double>(values.size()));
  }
  return mean;
}

/// One figure against the numeric axis: a line for each combination of the others, mean ± sd over
/// seeds, a dot a run; cells without a place on it are level lines. Without such an axis the cells
/// stand side by side.
std::string figure_plot(const SweepResults& results, size_t figure) {
  PlotOptions options{.title = results.figures[figure].name,
                      .y_label = results.figures[figure].target ? "steps" : "mean ± sd",
                      .height = 280};
  const std::optional<size_t> axis = numeric_axis(results);
  if (!axis) return cell_plot(results, figure, options);
  const std::vector<Line> lines = lines_along(results, *axis);
  options.x_label = results.axes[*axis];
  options.log_x = spans_octaves(lines);
  std::vector<Series> series;
  size_t colour = 0;
  for (const Line& line : lines) {
    add_nulls(results, figure, line, series);
    add_line(results, figure, line, series_colour(colour++), series, options);
  }
  add_levels(results, figure, *axis, lines, series);
  return line_plot(series, options);
}

/// The curve of each cell, the mean over the seeds that are done, with the targets as level lines.
/// "" where no run has one.
std::string curve_plot(const SweepResults& results) {
  std::vector<Series> series;
  double last = 0;
  for (size_t i = 0; i < results.cells.size(); ++i) {
    std::vector<const MetricSeries*> curves;
    for (const SweepRunResult& run : results.runs) {
      if (run.cell == i && run.done && !run.curves.empty()) curves.push_back(&run.curves.front());
    }
    if (curves.empty()) continue;
    Series mean = mean_curve(curves);
    if (mean.x.empty()) continue;
    mean.label = results.cells[i].name;
    mean.colour = results.cells.size() <= kSeriesColours ? series_colour(i)
                                                         : layer_colour(i, results.cells.size());
    mean.markers = mean.x.size() <= 40;
    last = std::max(last, mean.x.back());
    series.push_back(std::move(mean));
  }
  if (series.empty()) return "";
  for (const SweepFigureSpec& figure : results.figures) {
    if (figure.target)
      series.push_back(
          level(formatted("target {:g}", *figure.target), *figure.target, 0, last, kNullColour));
  }
  return line_plot(series,
                   {.title = results.curve_name + " over the steps, mean of the seeds",
                    .x_label = "step",
                    .y_label = results.curve_name,
                    .log_y = true,
                    .height = 320});
}

}  // namespace

std::vector<SweepPlot> sweep_plots(const SweepResults& results) {
  std::vector<SweepPlot> plots;
  for (size_t i = 0; i < results.figures.size(); ++i) {
    const bool found = std::ranges::any_of(
        results.runs, [&](const auto& run) { return run.done && run.figures[i].value; });
    if (found && !tested_by(results, i))
      plots.push_back({results.figures[i].name, figure_plot(results, i)});
  }
  if (std::string curve = curve_plot(results); !curve.empty())
    plots.push_back({"curve", std::move(curve)});
  return plots;
}

}  // namespace vmla::analysis
