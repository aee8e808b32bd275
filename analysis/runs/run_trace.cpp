#include "analysis/runs/run_trace.h"

#include <algorithm>
#include <cmath>

#include "analysis/runs/run_reading.h"
#include "model/io/error.h"

namespace vmla::analysis {
namespace {

namespace fs = std::filesystem;

const char kNone[] = "–";  // a setting that one of two runs does not have

bool is_traced(const std::string& metric) {
  for (const char* prefix : {"loss", "grad_norm"}) {
    if (metric == prefix || metric.starts_with(std::string(prefix) + "_")) return true;
  }
  return metric == "dmd_gradient_norm" || metric == "validation_loss";
}

// Means over the intervals that end at `steps`; intervals without an observation are left out.
TraceCurve curve_of(const MetricSeries& series, const std::vector<int64_t>& steps) {
  TraceCurve curve;
  size_t at = 0;
  for (const int64_t until : steps) {
    double sum = 0, count = 0;
    for (; at < series.steps.size() && series.steps[at] <= static_cast<double>(until); ++at) {
      sum += series.values[at];
      count += 1;
    }
    if (count > 0) curve.push_back({until, sum / count});
  }
  return curve;
}

MetricSeries rank_series(const RankLog& ranks) {
  MetricSeries series;
  for (size_t i = 0; i < ranks.steps().size(); ++i) {
    series.steps.push_back(static_cast<double>(ranks.steps()[i]));
    series.values.push_back(mean_rank_share(ranks, i));
  }
  return series;
}

// What decides how training goes; not paths, intervals, or what only observes it.
bool is_training_setting(const std::string& key) {
  for (const char* section :
       {"model.", "objective.", "optimizer.", "ema.", "init.", "data.make."}) {
    if (key.starts_with(section)) return !key.starts_with("data.make.videos");
  }
  return key == "train.steps" || key == "train.batch_size" || key == "train.precision" ||
         key == "data.caption_dropout";
}

// How many clips a figure is a share of: `clips` of its section or of one around it.
std::optional<double> clips_behind(const RunContents& run, const std::string& name) {
  for (size_t end = name.rfind('.'); end != std::string::npos && end > 0;
       end = name.rfind('.', end - 1)) {
    if (const auto clips = run.figure(name.substr(0, end) + ".clips"); clips && *clips >= 1)
      return clips;
  }
  return std::nullopt;
}

}  // namespace

const std::vector<FinalFigure>& final_figures() {
  using enum FinalFigure::Worse;
  // A share of clips: more is better.
  const auto share_of_clips = [](const char* name) {
    return FinalFigure{.name = name, .worse = kBelow, .absolute_floor = 0.02, .share = true};
  };
  static const std::vector<FinalFigure> kFigures = {
      {.name = "losses.validation_loss", .worse = kBoth, .relative_floor = 0.10},
      share_of_clips("adherence.colour"),
      share_of_clips("adherence.direction"),
      share_of_clips("adherence.shape"),
      share_of_clips("adherence.present"),
      share_of_clips("adherence.colour_present"),
      share_of_clips("adherence.direction_present"),
      share_of_clips("adherence.shape_present"),
      share_of_clips("retention.identification"),
      share_of_clips("retention.size_identification"),
      share_of_clips("retention.texture_identification"),
      {.name = "motion.border_jump", .worse = kAbove, .relative_floor = 0.10},
      {.name = "mosaic.keep", .worse = kBelow, .absolute_floor = 0.03},
      {.name = "mosaic.contrast", .worse = kBelow, .absolute_floor = 0.03},
      {.name = "mosaic.energy", .worse = kAbove, .absolute_floor = 0.01},
      share_of_clips("few_step.adherence.colour"),
      share_of_clips("few_step.adherence.direction"),
      share_of_clips("few_step.retention.identification"),
      share_of_clips("long_rollout.retention.identification"),
      {.name = "few_step.mosaic.contrast", .worse = kBelow, .absolute_floor = 0.03},
      {.name = "long_rollout.mosaic.keep_last", .worse = kBelow, .absolute_floor = 0.05},
      {.name = "long_rollout.mosaic.energy_last", .worse = kAbove, .absolute_floor = 0.02},
      {.name = "drift.shift", .worse = kAbove, .relative_floor = 0.50, .absolute_floor = 0.30},
      {.name = "drift.score", .worse = kAbove, .relative_floor = 0.50},
      {.name = "drift.motion_share_last", .worse = kBelow, .absolute_floor = 0.20},
      share_of_clips("drift.adherence.colour_last"),
      share_of_clips("drift.adherence.direction_last"),
      share_of_clips("drift.adherence.present_last"),
      {.name = "drift.area_share_last", .worse = kBelow, .absolute_floor = 0.20},
      {.name = "rank_share", .worse = kBoth, .absolute_floor = 0.03}};
  return kFigures;
}

std::optional<double> RunTrace::at(const std::string& curve, int64_t until) const {
  const auto found = curves.find(curve);
  if (found == curves.end()) return std::nullopt;
  for (const TracePoint& point : found->second) {
    if (point.until == until) return point.mean;
  }
  return std::nullopt;
}

std::optional<double> RunTrace::final_figure(const std::string& name) const {
  const auto found = finals.find(name);
  return found == finals.end() ? std::nullopt : std::optional<double>(found->second);
}

std::vector<int64_t> trace_steps(int64_t last_step) {
  std::vector<int64_t> steps;
  for (int k = 0; steps.empty() || steps.back() < last_step; ++k) {
    steps.push_back(std::llround(static_cast<double>(kFirstTracePoint) * std::pow(2.0, 0.5 * k)));
  }
  const int64_t begin = steps.size() > 1 ? steps[steps.size() - 2] : 0;
  const bool sparse = 4 * (last_step - begin) < steps.back() - begin;
  if (sparse && steps.size() > 1) steps.pop_back();
  steps.back() = last_step;
  return steps;
}

RunTrace trace_of(const RunContents& run) {
  RunTrace trace;
  trace.folder = run.folder;
  trace.stage = run.setting("stage").empty() ? run.name : run.setting("stage");
  trace.objective = run.setting("objective.name");
  trace.init = run.setting("init.method");
  const bool is_mosaic = run.setting("data.make.scene") == "mosaic";
  for (const auto& [key, value] : run.config) {
    // Runs on plain shapes are compared with those that were made before there were scenes.
    const bool of_scene =
        key.starts_with("data.make.scene") || key.starts_with("data.make.mosaic.");
    if (of_scene && !is_mosaic) continue;
    if (is_training_setting(key)) trace.settings[key] = value;
  }
  if (run.metric("loss") == nullptr) return trace;
  trace.last_step = static_cast<int64_t>(run.last_step());
  const std::vector<int64_t> steps = trace_steps(trace.last_step);
  for (const auto& [name, series] : run.metrics) {
    if (is_traced(name)) trace.curves[name] = curve_of(series, steps);
  }
  if (const RankLog* ranks = run.measured_ranks()) {
    trace.curves["rank_share"] = curve_of(rank_series(*ranks), steps);
    trace.finals["rank_share"] = last_rank_share(*ranks);
  }
  for (const FinalFigure& figure : final_figures()) {
    const auto value = run.figure(figure.name);
    if (!value) continue;
    trace.finals[figure.name] = *value;
    if (const auto clips = clips_behind(run, figure.name); clips && figure.share)
      trace.clips[figure.name] = *clips;
  }
  return trace;
}

RunTrace read_trace(const fs::path& run_dir) {
  if (!fs::is_directory(run_dir)) fail_user("{}: is not a run folder", run_dir.string());
  const RunContents run = read_run(run_dir);
  if (run.first_damaged_line > 0) {
    fail_user(
        "{}: line {} is damaged or cut off; `vmla train` again on this run folder cuts it back to "
        "its last checkpoint",
        (run_dir / "metrics.jsonl").string(),
        run.first_damaged_line);
  }
  if (!fs::exists(run_dir / "metrics.jsonl")) {
    fail_user("{}: is not a run folder of vmla train or vmla pipeline (no metrics.jsonl)",
              run_dir.string());
  }
  if (run.metric("loss") == nullptr) {
    fail_user("{}: no step with a loss has been logged yet", (run_dir / "metrics.jsonl").string());
  }
  if (run.setting("objective.name").empty()) {
    fail_user("{}: is missing or says no objective.name, so it is unknown what was trained",
              (run_dir / "config.yaml").string());
  }
  return trace_of(run);
}

std::vector<std::string> differing_settings(const std::map<std::string, std::string>& a,
                                            const std::map<std::string, std::string>& b) {
  std::map<std::string, std::pair<std::string, std::string>> both;
  for (const auto& [key, value] : a) both[key] = {value, kNone};
  for (const auto& [key, value] : b) {
    const auto [place, added] = both.try_emplace(key, kNone, value);
    if (!added) place->second.second = value;
  }
  std::vector<std::string> lines;
  for (const auto& [key, values] : both) {
    if (values.first != values.second)
      lines.push_back(formatted("{}: {} | {}", key, values.first, values.second));
  }
  return lines;
}

}  // namespace vmla::analysis
