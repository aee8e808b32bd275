#include "launch/sweep_progress.h"

#include <algorithm>
#include <utility>

#include "analysis/report/report.h"
#include "analysis/runs/run_reading.h"
#include "model/io/error.h"
#include "model/io/log.h"
#include "trainer/config/config_node.h"
#include "trainer/pipeline/pipeline_files.h"

namespace vmla::launch {
namespace {

namespace fs = std::filesystem;
using analysis::SweepRunResult;
using trainer::SweepRun;

/// The parts of the results that the file alone decides.
analysis::SweepResults results_of(const trainer::SweepFile& file) {
  analysis::SweepResults out;
  out.name = file.name;
  out.seeds = file.seeds;
  for (const trainer::SweepAxis& axis : file.axes) out.axes.push_back(axis.name);
  for (const trainer::SweepFigure& figure : file.metrics)
    out.figures.push_back({.name = figure.text, .stage = figure.stage, .key = figure.key});
  if (file.targets) {
    const trainer::SweepFigure& curve = file.targets->curve;
    for (const double target : file.targets->values) {
      out.figures.push_back({.name = "steps_to_" + trainer::shortest(target),
                             .stage = curve.stage,
                             .key = curve.key,
                             .target = target});
    }
  }
  for (size_t i = 0; i < file.cells.size(); ++i) {
    out.cells.push_back({.name = file.cells[i].name,
                         .labels = file.cells[i].labels,
                         .baseline = baseline_of(file, i),
                         .tuned = ""});
  }
  return out;
}

}  // namespace

SweepProgress::SweepProgress(const trainer::SweepFile& file,
                             const trainer::SweepPlan& plan,
                             fs::path run_dir)
    : file_(file),
      plan_(plan.runs),
      run_dir_(std::move(run_dir)),
      results_(results_of(file)),
      curve_(file.targets ? file.targets->curve : file.metrics.front()) {
  results_.curve_name = curve_.text;
  // Tables are read cell by cell; the runs are made seed by seed.
  for (size_t cell = 0; cell < file.cells.size(); ++cell) {
    for (const SweepRun& run : plan_) {
      if (run.cell != cell) continue;
      results_.runs.push_back({.cell = cell,
                               .seed = run.seed,
                               .folder = run.pipeline.run_dir.lexically_relative(run_dir_),
                               .stages = run.shared,
                               .failure = "",
                               .figures = {},
                               .curves = {}});
    }
  }
}

void SweepProgress::set_choices(const std::vector<trainer::TuneGroup>& groups,
                                const std::vector<analysis::SweepChoice>& choices) {
  const trainer::SweepTune& tune = *file_.tune;
  results_.tuned_key = tune.axis.name;
  results_.tune_figure = tune.metric.text;
  results_.tune_seeds = tune.seeds;
  results_.choices = choices;
  for (const trainer::AxisValue& value : tune.axis.values)
    results_.tuned_values.push_back(value.label);
  for (size_t g = 0; g < groups.size(); ++g) {
    if (!choices[g].chosen) continue;
    for (const size_t cell : groups[g].cells)
      results_.cells[cell].tuned = results_.tuned_values[*choices[g].chosen];
  }
}

bool SweepProgress::has_all_figures(const analysis::EarlierRun& earlier) const {
  return std::ranges::all_of(results_.figures, [&](const analysis::SweepFigureSpec& figure) {
    // The column of steps to a target does not name the curve.
    if (figure.target && earlier.curve_name != results_.curve_name) return false;
    return earlier.figures.contains(figure.name);
  });
}

void SweepProgress::take_over(const SweepRun& run, const analysis::EarlierRun& earlier) {
  SweepRunResult& result = result_of(run);
  result.folder.clear();
  result.done = true;
  for (const analysis::SweepFigureSpec& figure : results_.figures)
    result.figures.push_back(earlier.figures.at(figure.name));
  if (earlier.curve_name == results_.curve_name && !earlier.curve.steps.empty())
    result.curves = {earlier.curve};
}

void SweepProgress::fail_cell(size_t cell, const std::string& why) {
  for (SweepRunResult& run : results_.runs) {
    if (run.cell == cell) run.failure = why;
  }
}

SweepRunResult& SweepProgress::result_of(const SweepRun& run) {
  return *std::ranges::find_if(results_.runs, [&](const SweepRunResult& result) {
    return result.cell == run.cell && result.seed == run.seed;
  });
}

void SweepProgress::stage_ended(const std::string& stage, const std::string& failure) {
  if (failure.empty()) finished_.insert(stage);
  for (const SweepRun& run : plan_) {
    const auto own = std::ranges::find(run.shared, stage);
    if (own == run.shared.end()) continue;
    SweepRunResult& result = result_of(run);
    if (result.done) continue;  // its figures came from tables
    if (!failure.empty()) {
      const auto index = static_cast<size_t>(own - run.shared.begin());
      // The first to fail is the reason; the stages behind it only did not start.
      if (result.failure.empty())
        result.failure = formatted("{}: {}", run.pipeline.stages[index].name, failure);
    } else if (std::ranges::all_of(run.shared, [&](auto& s) { return finished_.contains(s); })) {
      try {
        finish(run, result);
      } catch (const std::exception& error) {
        result.failure = error.what();
        log::warn("{}: {}", run.name, error.what());
      }
    }
  }
  constexpr std::chrono::seconds kOften(10);
  if (std::chrono::steady_clock::now() - written_ > kOften) write();
}

void SweepProgress::finish(const SweepRun& run, SweepRunResult& result) {
  for (const trainer::PipelineStage& stage : run.pipeline.stages) {
    // A stage that was killed behind its last step, before it wrote its report, is finished.
    if (!fs::exists(stage.run_dir / "report.html")) analysis::write_run_report(stage.run_dir);
    const auto wanted = [&](const auto& figure) { return figure.stage == stage.name; };
    if (std::ranges::none_of(results_.figures, wanted)) continue;
    const analysis::RunContents contents = analysis::read_run(stage.run_dir);
    read_figures(contents, stage.name, results_.figures, result);
    for (const auto& [key, value] : contents.summary) known_keys_.insert(key);
    for (const auto& [key, value] : contents.summary_lists) known_keys_.insert(key);
    for (const auto& [key, value] : contents.metrics) known_keys_.insert(key);
    if (stage.name != curve_.stage) continue;
    if (const analysis::MetricSeries* curve = contents.metric(curve_.key)) result.curves = {*curve};
  }
  if (!file_.is_stage && !fs::exists(run.pipeline.run_dir / "report.html")) {
    write_pipeline_summary(run.pipeline);
    analysis::write_pipeline_report(run.pipeline.run_dir);
  }
  result.done = true;
}

void SweepProgress::write() {
  write_sweep(results_, run_dir_);
  written_ = std::chrono::steady_clock::now();
}

void SweepProgress::warn_of_missing() const {
  if (done() == 0) return;
  for (size_t i = 0; i < results_.figures.size(); ++i) {
    const bool found = std::ranges::any_of(results_.runs, [&](const SweepRunResult& run) {
      return run.done && (run.figures[i].value || run.figures[i].never);
    });
    if (found) continue;
    const std::vector<std::string> keys(known_keys_.begin(), known_keys_.end());
    const std::string near = trainer::nearest(results_.figures[i].key, keys);
    log::warn("metrics: no run has {}{}",
              results_.figures[i].name,
              near.empty() ? "" : formatted("; did you mean {}?", near));
  }
}

size_t SweepProgress::done() const {
  return static_cast<size_t>(
      std::ranges::count_if(results_.runs, [](const SweepRunResult& run) { return run.done; }));
}

size_t SweepProgress::failed() const {
  return static_cast<size_t>(std::ranges::count_if(
      results_.runs, [](const SweepRunResult& run) { return !run.failure.empty(); }));
}

}  // namespace vmla::launch
