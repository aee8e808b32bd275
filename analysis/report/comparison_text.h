#pragma once

#include <optional>
#include <string>
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
  std::string reference_name;  // its file
  ReferenceVerdict verdict;
};

/// Curves at a few steps, final figures, and the settings that differ.
std::string comparison_text(const RunPair& pair);
/// One line a curve and figure, and a last one with the verdict: healthy, or where the run is first
/// outside and by how much.
std::string comparison_text(const ReferenceCheck& check);

/// Pieces of both: a number with four digits ("-" if there is none; ASCII, so that columns of the
/// terminal line up), a run with its folder and length, a band's ends.
std::string cell(std::optional<double> value);
std::string described(const RunTrace& run);
std::string band_text(const BandPoint& band);

/// The curves that either run has, and the steps at which either has a point of one.
std::vector<std::string> curve_names(const RunPair& pair);
std::vector<int64_t> steps_of(const RunPair& pair, const std::string& curve);

}  // namespace vmla::analysis
