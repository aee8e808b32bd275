#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "analysis/runs/run_contents.h"

/// A run reduced to what can be compared with another one: a few points of every curve, spaced
/// evenly in the logarithm of the step, and its final figures.
namespace vmla::analysis {

/// The mean of a figure over all its observations in an interval of steps: behind the previous
/// point's `until`, up to this one's.
struct TracePoint {
  int64_t until = 0;
  double mean = 0;
};
using TraceCurve = std::vector<TracePoint>;

struct RunTrace {
  std::filesystem::path folder;
  /// `stage` of its configuration; the folder's name if that says none.
  std::string stage;
  /// objective.name; "" if the configuration is missing.
  std::string objective;
  /// init.method.
  std::string init;
  int64_t last_step = 0;
  std::map<std::string, TraceCurve> curves;
  /// Those of final_figures() that the run has.
  std::map<std::string, double> finals;
  /// How many clips each of them that is a share is a share of, as far as the run says it.
  std::map<std::string, double> clips;
  /// The settings that decide how training goes: model, objective, optimizer and the like.
  std::map<std::string, std::string> settings;

  /// The curve's mean at the point that ends at `until`; nothing where it has none.
  std::optional<double> at(const std::string& curve, int64_t until) const;
  std::optional<double> final_figure(const std::string& name) const;
};

inline constexpr int64_t kFirstTracePoint = 8;

/// Last steps of the intervals that every curve is averaged over: kFirstTracePoint, then each √2
/// times the one before, so that runs of any length share their points. The last is `last_step`
/// itself; an interval that would end up less than a quarter full joins the one before.
std::vector<int64_t> trace_steps(int64_t last_step);

/// A final figure of a run, and how a band of it is made and judged.
struct FinalFigure {
  /// Key of summary.json, or "rank_share".
  const char* name;
  /// Which way it is worse; the band is open on the other side.
  enum class Worse { kBelow, kAbove, kBoth } worse;
  /// The least half-width of its band: of the mean, and in the figure's own units.
  double relative_floor = 0;
  double absolute_floor = 0;
  /// A share of clips, in 0..1, with the sampling error of a share.
  bool share = false;
};

/// The figures that runs are judged by, in the order in which they are shown.
const std::vector<FinalFigure>& final_figures();

/// Reduces a run. Its curves: losses and gradient norms of all players, the DMD gradient's norm,
/// the validation loss, and `rank_share` (mean over the layers of r_0.99 / budget, in 0..1).
RunTrace trace_of(const RunContents& run);

/// Reads a stage's run folder. UserError, one line: not a run folder, no steps, a damaged line in
/// metrics.jsonl.
RunTrace read_trace(const std::filesystem::path& run_dir);

/// Settings that differ, as "key: A | B"; "–" where one has none.
std::vector<std::string> differing_settings(const std::map<std::string, std::string>& a,
                                            const std::map<std::string, std::string>& b);

}  // namespace vmla::analysis
