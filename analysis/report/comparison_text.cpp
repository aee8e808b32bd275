#include "analysis/report/comparison_text.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <set>

#include "model/io/error.h"

namespace vmla::analysis {
namespace {

constexpr size_t kColumns = 6;  // points of a curve on the terminal

std::string padded(const std::string& text, size_t width, bool left = false) {
  const std::string room(text.size() < width ? width - text.size() : 0, ' ');
  return left ? text + room : room + text;
}

// Evenly spaced ones of them, the last always.
std::vector<int64_t> some_of(const std::vector<int64_t>& steps) {
  if (steps.size() <= kColumns) return steps;
  std::vector<int64_t> kept;
  for (size_t k = 0; k < kColumns; ++k) {
    kept.push_back(steps[(k + 1) * steps.size() / kColumns - 1]);
  }
  return kept;
}

std::optional<double> quotient(std::optional<double> a, std::optional<double> b) {
  if (!a || !b || *a == 0) return std::nullopt;
  return *b / *a;
}

std::string curve_table(const RunPair& pair, const std::string& name) {
  const std::vector<int64_t> steps = some_of(steps_of(pair, name));
  std::array<std::string, 4> rows = {padded(name, 26, true) + "step",
                                     padded("", 29) + "A",
                                     padded("", 29) + "B",
                                     padded("", 27) + "B/A"};
  for (const int64_t step : steps) {
    const auto a = pair.a.at(name, step), b = pair.b.at(name, step);
    rows[0] += padded(formatted("{}", step), 11);
    rows[1] += padded(cell(a), 11);
    rows[2] += padded(cell(b), 11);
    rows[3] += padded(cell(quotient(a, b)), 11);
  }
  return "\n" + rows[0] + "\n" + rows[1] + "\n" + rows[2] + "\n" + rows[3] + "\n";
}

std::string settings_text(const std::vector<std::string>& lines, const std::string& heading) {
  std::string text;
  for (const std::string& line : lines) text += "    " + line + "\n";
  return lines.empty() ? "" : "\n  " + heading + "\n" + text;
}

// "4.1, 1.6 times the upper end of 1.9 to 2.5".
std::string excess_text(const BandVerdict& verdict) {
  const double value = *verdict.value;
  const bool above = !(value <= verdict.band.high);
  const double end = above ? verdict.band.high : verdict.band.low;
  const std::string by = end > 0 && value > 0 ? formatted("{} times", cell(value / end))
                                              : formatted("{} off", cell(value - end));
  return formatted("{}, {} the {} end of {}",
                   cell(value),
                   by,
                   above ? "upper" : "lower",
                   band_text(verdict.band));
}

std::string verdict_row(const BandVerdict& verdict) {
  std::string text = "  " + padded(verdict.name, 40, true);
  if (!verdict.measured()) return text + "not compared  (the run has none there)\n";
  text += verdict.inside ? "healthy   " : "OUTSIDE   ";
  if (verdict.band.until == 0) {
    return text +
           (verdict.inside ? formatted("{}  ({})", cell(verdict.value), band_text(verdict.band))
                           : excess_text(verdict)) +
           "\n";
  }
  text +=
      formatted("{} of {} points inside", verdict.points - verdict.points_outside, verdict.points);
  if (!verdict.inside)
    text += formatted("; from step {}: {}", verdict.band.until, excess_text(verdict));
  return text + "\n";
}

}  // namespace

std::string cell(std::optional<double> value) {
  if (!value || !std::isfinite(*value)) return "-";
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", *value);
  return text;
}

std::string described(const RunTrace& run) {
  return formatted("{}  ({}{}, {} steps)",
                   run.folder.string(),
                   run.objective,
                   run.init.empty() ? "" : ", " + run.init,
                   run.last_step);
}

std::string band_text(const BandPoint& band) {
  return formatted("{} to {}", cell(band.low), cell(band.high));
}

std::vector<std::string> curve_names(const RunPair& pair) {
  std::set<std::string> names;
  for (const RunTrace* run : {&pair.a, &pair.b}) {
    for (const auto& [name, curve] : run->curves) names.insert(name);
  }
  return {names.begin(), names.end()};
}

std::vector<int64_t> steps_of(const RunPair& pair, const std::string& name) {
  std::set<int64_t> steps;
  for (const RunTrace* run : {&pair.a, &pair.b}) {
    const auto curve = run->curves.find(name);
    if (curve == run->curves.end()) continue;
    for (const TracePoint& point : curve->second) steps.insert(point.until);
  }
  return {steps.begin(), steps.end()};
}

std::string comparison_text(const RunPair& pair) {
  std::string text =
      formatted("stage {}\n  A {}\n  B {}\n", pair.a.stage, described(pair.a), described(pair.b));
  text += settings_text(differing_settings(pair.a.settings, pair.b.settings),
                        "settings that differ (A | B):");
  for (const std::string& name : curve_names(pair)) text += curve_table(pair, name);
  text += "\n" + padded("final figure", 41, true) + padded("A", 11) + padded("B", 11) +
          padded("B-A", 11) + "\n";
  for (const FinalFigure& figure : final_figures()) {
    const auto a = pair.a.final_figure(figure.name), b = pair.b.final_figure(figure.name);
    if (!a && !b) continue;
    text += padded(figure.name, 41, true) + padded(cell(a), 11) + padded(cell(b), 11) +
            padded(cell(a && b ? std::optional(*b - *a) : std::nullopt), 11) + "\n";
  }
  return text;
}

std::string comparison_text(const ReferenceCheck& check) {
  std::string text = formatted("stage {}: {}\n  against {} ({} runs)\n",
                               check.run.stage,
                               described(check.run),
                               check.reference_name,
                               check.reference.runs);
  for (const BandVerdict& verdict : check.verdict.curves) text += verdict_row(verdict);
  for (const BandVerdict& verdict : check.verdict.finals) text += verdict_row(verdict);
  text += settings_text(differing_settings(check.run.settings, check.reference.settings),
                        "settings that differ (run | reference):");
  const BandVerdict* first = check.verdict.first_outside();
  if (first == nullptr) return text + check.run.stage + ": healthy\n";
  return text + formatted("{}: outside, first in {}{}: {}\n",
                          check.run.stage,
                          first->name,
                          first->band.until > 0 ? formatted(" at step {}", first->band.until)
                                                : " at the end",
                          excess_text(*first));
}

}  // namespace vmla::analysis
