#include "analysis/report/comparison_text.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "model/io/error.h"

namespace vmla::analysis {
namespace {

constexpr size_t kColumns = 6;  // points of a curve on the terminal
constexpr size_t kNumberWidth = 11;

// Text with spaces before or behind it, up to a width.
std::string on_the_right(const std::string& text, size_t width = kNumberWidth) {
  return std::string(text.size() < width ? width - text.size() : 0, ' ') + text;
}
std::string on_the_left(const std::string& text, size_t width) {
  return text + std::string(text.size() < width ? width - text.size() : 0, ' ');
}

// `text` from a file for the terminal: what a terminal would obey (control characters, in ASCII and
// as U+0080 to U+009F) becomes "?", so that a run folder of somebody else forges no line.
std::string one_line(std::string text) {
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    const bool in_two =
        byte == 0xC2 && i + 1 < text.size() && (static_cast<uint8_t>(text[i + 1]) & 0xE0u) == 0x80u;
    if (in_two) text.replace(i, 2, "?");
    if (byte < 0x20 || byte == 0x7F) text[i] = '?';
  }
  return text;
}

// At most kColumns of the steps, evenly spaced, the last always.
std::vector<int64_t> some_of(const std::vector<int64_t>& steps) {
  if (steps.size() <= kColumns) return steps;
  std::vector<int64_t> kept;
  for (size_t k = 0; k < kColumns; ++k) {
    kept.push_back(steps[(k + 1) * steps.size() / kColumns - 1]);
  }
  return kept;
}

std::optional<double> quotient(std::optional<double> b, std::optional<double> a) {
  if (!a || !b || *a == 0) return std::nullopt;
  return *b / *a;
}

std::optional<double> difference(std::optional<double> b, std::optional<double> a) {
  if (!a || !b) return std::nullopt;
  return *b - *a;
}

// A curve of both runs: four rows, a column a step.
std::string curve_table(const RunPair& pair, const std::string& name) {
  std::string steps = on_the_left(one_line(name), 26) + "step", a = on_the_right("A", 30),
              b = on_the_right("B", 30), quotients = on_the_right("B/A", 30);
  for (const int64_t step : some_of(steps_of(pair, name))) {
    const auto value_a = pair.a.at(name, step), value_b = pair.b.at(name, step);
    steps += on_the_right(formatted("{}", step));
    a += on_the_right(number_text(value_a));
    b += on_the_right(number_text(value_b));
    quotients += on_the_right(number_text(quotient(value_b, value_a)));
  }
  return formatted("\n{}\n{}\n{}\n{}\n", steps, a, b, quotients);
}

std::string settings_text(const std::vector<std::string>& lines, const std::string& heading) {
  if (lines.empty()) return "";
  std::string text = formatted("\n  {}\n", heading);
  for (const std::string& line : lines) text += formatted("    {}\n", one_line(line));
  return text;
}

// "4.1, 1.6 times the upper end of 1.9 to 2.5".
std::string excess_text(const BandVerdict& verdict) {
  const double value = *verdict.value;
  const bool above = !(value <= verdict.band.high);
  const double end = above ? verdict.band.high : verdict.band.low;
  const bool is_ratio = end > 0 && value > 0;
  const std::string by = is_ratio ? formatted("{} times", number_text(value / end))
                                  : formatted("{} off", number_text(value - end));
  return formatted("{}, {} the {} end of {}",
                   number_text(value),
                   by,
                   above ? "upper" : "lower",
                   band_text(verdict.band));
}

std::string figure_verdict_text(const BandVerdict& verdict) {
  if (!verdict.inside) return excess_text(verdict);
  return formatted("{}  ({})", number_text(verdict.value), band_text(verdict.band));
}

std::string curve_verdict_text(const BandVerdict& verdict) {
  std::string counts =
      formatted("{} of {} points inside", verdict.points - verdict.points_outside, verdict.points);
  if (verdict.inside) return counts;
  return formatted("{}; from step {}: {}", counts, verdict.band.until, excess_text(verdict));
}

std::string verdict_row(const BandVerdict& verdict) {
  const std::string name = on_the_left(one_line(verdict.name), 40);
  if (!verdict.measured()) return formatted("  {}not compared  (the run has none there)\n", name);
  const bool is_final = verdict.band.until == 0;
  return formatted("  {}{}{}\n",
                   name,
                   on_the_left(verdict.inside ? "healthy" : "OUTSIDE", 10),
                   is_final ? figure_verdict_text(verdict) : curve_verdict_text(verdict));
}

}  // namespace

std::string number_text(std::optional<double> value) {
  return value && std::isfinite(*value) ? formatted("{:.4g}", *value) : "-";
}

std::string described(const RunTrace& run) {
  const std::string trained =
      run.init.empty() ? run.objective : formatted("{}, {}", run.objective, run.init);
  return one_line(formatted("{}  ({}, {} steps)", run.folder.string(), trained, run.last_step));
}

std::string band_text(const BandPoint& band) {
  return formatted("{} to {}", number_text(band.low), number_text(band.high));
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

std::vector<FigurePair> final_pairs(const RunPair& pair) {
  std::vector<FigurePair> pairs;
  for (const FinalFigure& figure : final_figures()) {
    const auto a = pair.a.final_figure(figure.name), b = pair.b.final_figure(figure.name);
    if (a || b) pairs.push_back({.name = figure.name, .a = a, .b = b});
  }
  return pairs;
}

std::pair<std::string, std::string> run_labels(const RunPair& pair) {
  const auto parts_of = [](const std::filesystem::path& folder) {
    std::vector<std::string> parts;
    for (const auto& part : folder.lexically_normal()) {
      if (!part.empty() && part != "." && part != "/") parts.push_back(part.string());
    }
    return parts;
  };
  // As many parts as it takes to tell them apart: runs/tiny/dmd and runs/other/dmd need two.
  const auto a = parts_of(pair.a.folder), b = parts_of(pair.b.folder);
  const auto last = [](const std::vector<std::string>& parts, size_t count) {
    std::string text;
    for (size_t i = parts.size() - std::min(count, parts.size()); i < parts.size(); ++i)
      text += (text.empty() ? "" : "/") + parts[i];
    return text;
  };
  for (size_t count = 1; count < std::max(a.size(), b.size()); ++count) {
    if (last(a, count) != last(b, count)) return {last(a, count), last(b, count)};
  }
  return {last(a, a.size()), last(b, b.size())};
}

FinalFigure::Worse worse_of(const std::string& name) {
  const auto& figures = final_figures();
  const auto found =
      std::ranges::find_if(figures, [&](const FinalFigure& figure) { return figure.name == name; });
  return found == figures.end() ? FinalFigure::Worse::kBoth : found->worse;
}

std::string comparison_text(const RunPair& pair) {
  std::string text = formatted(
      "stage {}\n  A {}\n  B {}\n", one_line(pair.a.stage), described(pair.a), described(pair.b));
  text += settings_text(differing_settings(pair.a.settings, pair.b.settings),
                        "settings that differ (A | B):");
  for (const std::string& name : curve_names(pair)) text += curve_table(pair, name);
  const auto row = [](const std::string& name,
                      const std::string& a,
                      const std::string& b,
                      const std::string& change) {
    return on_the_left(name, 41) + on_the_right(a) + on_the_right(b) + on_the_right(change) + "\n";
  };
  text += "\n" + row("final figure", "A", "B", "B-A");
  for (const FigurePair& figure : final_pairs(pair)) {
    text += row(figure.name,
                number_text(figure.a),
                number_text(figure.b),
                number_text(difference(figure.b, figure.a)));
  }
  return text;
}

std::string comparison_text(const ReferenceCheck& check) {
  std::string text = formatted("stage {}: {}\n  against {} ({} runs)\n",
                               one_line(check.run.stage),
                               described(check.run),
                               one_line(check.reference_name),
                               check.reference.runs);
  for (const BandVerdict& verdict : check.verdict.curves) text += verdict_row(verdict);
  for (const BandVerdict& verdict : check.verdict.finals) text += verdict_row(verdict);
  text += settings_text(differing_settings(check.run.settings, check.reference.settings),
                        "settings that differ (run | reference):");
  const BandVerdict* first = check.verdict.first_outside();
  if (first == nullptr) return text + formatted("{}: healthy\n", one_line(check.run.stage));
  const std::string where =
      first->band.until > 0 ? formatted("at step {}", first->band.until) : "at the end";
  return text + formatted("{}: outside, first in {} {}: {}\n",
                          one_line(check.run.stage),
                          one_line(first->name),
                          where,
                          excess_text(*first));
}

}  // namespace vmla::analysis
