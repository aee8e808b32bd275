#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "analysis/runs/run_reading.h"

/// A run reduced to what can be compared with another one: a few points of every curve, spaced
/// evenly in the logarithm of the step, and its final figures.
namespace vmla::analysis {

/// The mean of a figure over all its observations in the steps (previous point's until, until].
struct TracePoint {
  int64_t until = 0;
  double mean = 0;
};
using TraceCurve = std::vector<TracePoint>;

struct RunTrace {
  std::filesystem::path folder;
  std::string stage;      // `stage` of its configuration
  std::string objective;  // "" if its configuration is missing
  std::string init;       // init.method
  int64_t last_step = 0;
  std::map<std::string, TraceCurve> curves;
  std::map<std::string, double> finals;         // see kFinalFigures
  std::map<std::string, std::string> settings;  // of training: model, objective, optimizer, ...

  /// The curve's mean at the point that ends at `until`; nothing where it has none.
  std::optional<double> at(const std::string& curve, int64_t until) const;
  std::optional<double> final_figure(const std::string& name) const;
};

inline constexpr int64_t kFirstTracePoint = 8;

/// Last steps of the intervals that every curve is averaged over: kFirstTracePoint, then each √2
/// times the one before, so that runs of any length share their points. The last is `last_step`
/// itself; an interval that would end up less than a quarter full joins the one before.
std::vector<int64_t> trace_steps(int64_t last_step);

/// A final figure and which way it is worse.
struct FinalFigure {
  enum class Worse { kBelow, kAbove, kBoth };
  const char* name;  // key of summary.json, or "rank_share"
  Worse worse;
  double relative_floor;  // least half-width of a band, of the mean
  double absolute_floor;  // least half-width of a band
  bool share;             // a share of clips, with the error of a share
};
/// The figures that runs are judged by, in the order in which they are shown.
const std::vector<FinalFigure>& final_figures();

/// Losses and gradient norms of all players, the DMD gradient's norm, the validation loss and
/// `rank_share` (mean over the layers of r_0.99 / budget).
RunTrace trace_of(const RunContents& run);

/// Reads a stage's run folder. UserError, one line: not a run folder, no steps, a damaged line in
/// metrics.jsonl.
RunTrace read_trace(const std::filesystem::path& run_dir);

/// Settings that differ, as "key: A | B"; "–" where one has none.
std::vector<std::string> differing_settings(const std::map<std::string, std::string>& a,
                                            const std::map<std::string, std::string>& b);

}  // namespace vmla::analysis
