#include "analysis/sweep/sweep_tables.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "model/io/csv.h"
#include "model/io/error.h"

namespace vmla::analysis {
namespace {

using Json = nlohmann::ordered_json;

std::string csv_number(std::optional<double> value) {
  return value && std::isfinite(*value) ? formatted("{:.9g}", *value) : "";
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

std::string csv_figure(const SeedFigure& figure) {
  return figure.never ? "never" : csv_number(figure.value);
}

Json number(std::optional<double> value) {
  return value && std::isfinite(*value) ? Json(*value) : Json(nullptr);
}

Json figure_json(const SeedFigure& figure) {
  return figure.never ? Json("never") : number(figure.value);
}

Json spread_json(const SeedSpread& spread) {
  return {{"mean", number(spread.mean)},
          {"sd", number(spread.sd)},
          {"n", spread.n},
          {"never", spread.never},
          {"median", number(spread.median)}};
}

Json difference_json(const PairedDifference& difference) {
  return {{"mean", number(difference.mean)},
          {"low", number(difference.low)},
          {"high", number(difference.high)},
          {"sd", number(difference.sd)},
          {"n", difference.n},
          {"left_out", difference.left_out}};
}

Json cell_json(const SweepResults& results, size_t index) {
  const SweepCellResult& cell = results.cells[index];
  Json json{{"name", cell.name}};
  for (size_t axis = 0; axis < cell.labels.size(); ++axis)
    json["at"][results.axes[axis]] = cell.labels[axis];
  if (!cell.tuned.empty()) json["tuned"] = cell.tuned;
  for (size_t i = 0; i < results.figures.size(); ++i)
    json["figures"][results.figures[i].name] = spread_json(spread_of(results.figures_of(index, i)));
  if (!cell.baseline) return json;
  json["baseline"] = results.cells[*cell.baseline].name;
  for (size_t i = 0; i < results.figures.size(); ++i)
    json["differences"][results.figures[i].name] = difference_json(results.difference_of(index, i));
  return json;
}

Json run_json(const SweepResults& results, const SweepRunResult& run) {
  Json json{{"cell", results.cells[run.cell].name},
            {"seed", run.seed},
            {"folder", run.folder},
            {"stages", run.stages},
            {"state", state_of(run)}};
  if (!run.failure.empty()) json["failure"] = run.failure;
  if (!run.done) return json;
  for (size_t i = 0; i < results.figures.size(); ++i)
    json["figures"][results.figures[i].name] = figure_json(run.figures[i]);
  return json;
}

Json choice_json(const SweepResults& results, const SweepChoice& choice) {
  Json json{{"group", choice.group}, {"chosen", nullptr}, {"tried", Json::object()}};
  if (choice.chosen) json["chosen"] = results.tuned_values[*choice.chosen];
  for (size_t i = 0; i < choice.figures.size(); ++i) {
    Json& list = json["tried"][results.tuned_values[i]] = Json::array();
    for (const double figure : choice.figures[i]) list.push_back(number(figure));
  }
  return json;
}

}  // namespace

std::string state_of(const SweepRunResult& run) {
  return run.done ? "done" : run.failure.empty() ? "waiting" : "failed";
}

std::string sweep_json(const SweepResults& results) {
  Json json{{"format", "vmla sweep"}, {"version", 1}, {"name", results.name}};
  json["axes"] = results.axes;
  json["seeds"] = results.seeds;
  for (const SweepFigureSpec& figure : results.figures) {
    Json spec{{"name", figure.name}, {"stage", figure.stage}, {"key", figure.key}};
    if (figure.target) spec["target"] = *figure.target;
    json["figures"].push_back(spec);
  }
  json["cells"] = Json::array();
  for (size_t i = 0; i < results.cells.size(); ++i) json["cells"].push_back(cell_json(results, i));
  json["runs"] = Json::array();
  for (const SweepRunResult& run : results.runs) json["runs"].push_back(run_json(results, run));
  if (!results.choices.empty()) {
    Json& tune = json["tune"] = {{"key", results.tuned_key},
                                 {"figure", results.tune_figure},
                                 {"seeds", results.tune_seeds},
                                 {"choices", Json::array()}};
    for (const SweepChoice& choice : results.choices)
      tune["choices"].push_back(choice_json(results, choice));
  }
  return json.dump(2) + "\n";
}

std::string sweep_table_csv(const SweepResults& results) {
  std::vector<std::string> head = {"cell", "seed"};
  head.insert(head.end(), results.axes.begin(), results.axes.end());
  if (!results.choices.empty()) head.push_back(results.tuned_key);
  head.emplace_back("state");
  for (const SweepFigureSpec& figure : results.figures) head.push_back(figure.name);
  head.insert(head.end(), {"stages", "folder", "failure"});
  std::string csv = io::csv_row(head);
  for (const SweepRunResult& run : results.runs) {
    const SweepCellResult& cell = results.cells[run.cell];
    std::vector<std::string> row = {cell.name, std::to_string(run.seed)};
    for (size_t i = 0; i < results.axes.size(); ++i)
      row.push_back(i < cell.labels.size() ? cell.labels[i] : "");
    if (!results.choices.empty()) row.push_back(cell.tuned);
    row.push_back(state_of(run));
    for (size_t i = 0; i < results.figures.size(); ++i)
      row.push_back(run.done ? csv_figure(run.figures[i]) : "");
    row.insert(row.end(), {joined(run.stages), run.folder, run.failure});
    csv += io::csv_row(row);
  }
  return csv;
}

std::string sweep_curves_csv(const SweepResults& results) {
  std::string csv = io::csv_row({"cell", "seed", "step", results.curve_name});
  for (const SweepRunResult& run : results.runs) {
    for (const MetricSeries& curve : run.curves) {
      for (size_t i = 0; i < curve.steps.size(); ++i)
        csv += io::csv_row({results.cells[run.cell].name,
                            std::to_string(run.seed),
                            csv_number(curve.steps[i]),
                            csv_number(curve.values[i])});
    }
  }
  return csv;
}

std::string sweep_tune_csv(const SweepResults& results) {
  std::string csv =
      io::csv_row({"group", results.tuned_key, "seed", results.tune_figure, "stages"});
  for (const SweepChoice& choice : results.choices) {
    for (size_t value = 0; value < choice.figures.size(); ++value) {
      for (size_t seed = 0; seed < choice.figures[value].size(); ++seed)
        csv += io::csv_row({choice.group,
                            results.tuned_values[value],
                            std::to_string(results.tune_seeds[seed]),
                            csv_number(choice.figures[value][seed]),
                            joined(choice.stages[value][seed])});
    }
  }
  return csv;
}

std::string sweep_summary_csv(const SweepResults& results) {
  std::string csv = io::csv_row({"cell", "figure", "mean", "sd", "n", "never", "median"});
  for (size_t cell = 0; cell < results.cells.size(); ++cell) {
    for (size_t i = 0; i < results.figures.size(); ++i) {
      const SeedSpread spread = spread_of(results.figures_of(cell, i));
      csv += io::csv_row({results.cells[cell].name,
                          results.figures[i].name,
                          csv_number(spread.mean),
                          csv_number(spread.sd),
                          std::to_string(spread.n),
                          std::to_string(spread.never),
                          csv_number(spread.median)});
    }
  }
  return csv;
}

std::string sweep_differences_csv(const SweepResults& results) {
  std::string csv = io::csv_row(
      {"cell", "baseline", "figure", "difference", "low", "high", "sd", "n", "left_out"});
  for (size_t cell = 0; cell < results.cells.size(); ++cell) {
    if (!results.cells[cell].baseline) continue;
    for (size_t i = 0; i < results.figures.size(); ++i) {
      const PairedDifference difference = results.difference_of(cell, i);
      csv += io::csv_row({results.cells[cell].name,
                          results.cells[*results.cells[cell].baseline].name,
                          results.figures[i].name,
                          csv_number(difference.mean),
                          csv_number(difference.low),
                          csv_number(difference.high),
                          csv_number(difference.sd),
                          std::to_string(difference.n),
                          std::to_string(difference.left_out)});
    }
  }
  return csv;
}

}  // namespace vmla::analysis
