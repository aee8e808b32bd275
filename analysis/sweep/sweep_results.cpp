#include "analysis/sweep/sweep_results.h"

#include <cmath>
#include <numeric>
#include <utility>

namespace vmla::analysis {

std::optional<double> run_figure(const RunContents& run, const std::string& key) {
  std::optional<double> value = run.figure(key);
  if (const std::vector<double>* list = run.figures(key);
      !value && list != nullptr && !list->empty())
    value = std::accumulate(list->begin(), list->end(), 0.0) / static_cast<double>(list->size());
  if (!value) value = run.last_value(key);
  return value && std::isfinite(*value) ? value : std::nullopt;
}

SeedFigure steps_to_target(const MetricSeries* curve, double target) {
  if (curve == nullptr) return {};
  for (size_t i = 0; i < curve->values.size(); ++i) {
    const double value = curve->values[i];
    if (!(value <= target)) continue;
    if (i == 0 || !std::isfinite(curve->values[i - 1])) return {.value = curve->steps[i]};
    const double before = curve->values[i - 1], step = curve->steps[i - 1];
    const double share = (before - target) / (before - value);
    return {.value = step + share * (curve->steps[i] - step)};
  }
  return {.value = {}, .never = true};
}

std::vector<SeedFigure> SweepResults::figures_of(size_t cell, size_t figure) const {
  std::vector<SeedFigure> out;
  for (const int64_t seed : seeds) {
    SeedFigure found;
    for (const SweepRunResult& run : runs) {
      if (run.cell == cell && run.seed == seed && run.done) found = run.figures[figure];
    }
    out.push_back(found);
  }
  return out;
}

PairedDifference SweepResults::difference_of(size_t cell, size_t figure) const {
  const std::vector<SeedFigure> own = figures_of(cell, figure);
  const std::vector<SeedFigure> other = figures_of(*cells[cell].baseline, figure);
  std::vector<std::pair<SeedFigure, SeedFigure>> pairs;
  for (size_t i = 0; i < own.size(); ++i) pairs.emplace_back(own[i], other[i]);
  return paired_difference(pairs);
}

void read_figures(const RunContents& contents,
                  const std::string& stage,
                  const std::vector<SweepFigureSpec>& figures,
                  SweepRunResult& run) {
  run.figures.resize(figures.size());
  for (size_t i = 0; i < figures.size(); ++i) {
    const SweepFigureSpec& figure = figures[i];
    if (figure.stage != stage) continue;
    run.figures[i] = figure.target ? steps_to_target(contents.metric(figure.key), *figure.target)
                                   : SeedFigure{.value = run_figure(contents, figure.key)};
  }
}

}  // namespace vmla::analysis
