#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "analysis/runs/reference_trace.h"

/// A run held against a reference trace.
namespace vmla::analysis {

/// How one curve or final figure of a run lies in its band.
struct BandVerdict {
  std::string name;
  bool inside = true;
  /// Points that the run and the band share, and those of them outside; one for a final figure,
  /// none where the run has no value.
  int64_t points = 0, points_outside = 0;
  /// Where it is outside: the value from which on it is, and the band there. Else the last ones.
  std::optional<double> value = {};
  BandPoint band = {};
  bool measured() const { return value.has_value(); }
};

struct ReferenceVerdict {
  /// In the order in which they are shown.
  std::vector<BandVerdict> curves, finals;
  bool healthy() const;
  /// The curve that leaves its band first, else a final figure outside; nullptr when healthy.
  const BandVerdict* first_outside() const;
};

/// Judges a run. Points that both have are compared; a run that is shorter is judged as far as it
/// goes, and its final figures only where it is as long. A curve is outside where two points in a
/// row are, on the same side (one stray point of a hundred is to be expected), or its only point.
/// UserError if the run has another objective, or no point in common.
ReferenceVerdict judge(const RunTrace& run, const ReferenceTrace& reference);

}  // namespace vmla::analysis
