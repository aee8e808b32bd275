#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "analysis/runs/reference_verdict.h"
#include "analysis/runs/run_trace.h"

/// What `vmla compare` says on the terminal.
namespace vmla::analysis {

/// Two runs of one stage.
struct RunPair {
  RunTrace a, b;
};

/// A run of a stage and the trace it is judged by.
struct ReferenceCheck {
  RunTrace run;
  ReferenceTrace reference;
  /// The file that the reference was read from.
  std::string reference_name;
  ReferenceVerdict verdict;
};

/// Curves at a few steps, final figures, and the settings that differ.
std::string comparison_text(const RunPair& pair);
/// One line a curve and figure, and a last one with the verdict: healthy, or where the run is first
/// outside and by how much.
std::string comparison_text(const ReferenceCheck& check);

/// A number with four digits; "-" if there is none (ASCII, so that columns of the terminal line
/// up).
std::string number_text(std::optional<double> value);
/// A run's folder, what it trained, and its length.
std::string described(const RunTrace& run);
/// What the two runs are called side by side: the last parts of their folders, as many as it takes
/// to tell them apart.
std::pair<std::string, std::string> run_labels(const RunPair& pair);
/// Which way a final figure is worse; kBoth for one that final_figures() does not list.
FinalFigure::Worse worse_of(const std::string& name);
/// A band's ends: "1.9 to 2.5".
std::string band_text(const BandPoint& band);

/// The curves that either run has.
std::vector<std::string> curve_names(const RunPair& pair);
/// The steps at which either run has a point of a curve.
std::vector<int64_t> steps_of(const RunPair& pair, const std::string& curve);

/// A final figure of two runs.
struct FigurePair {
  std::string name;
  std::optional<double> a, b;
};
/// Those that either run has, in the order in which they are shown.
std::vector<FigurePair> final_pairs(const RunPair& pair);

}  // namespace vmla::analysis
