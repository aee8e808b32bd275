#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "analysis/runs/run_trace.h"

/// Reference traces: what a healthy run of a configuration looks like, from several runs that
/// differ in their seeds (docs/formats.md, "Reference trace"). configs/tiny/reference/ holds one a
/// stage.
namespace vmla::analysis {

/// Between `low` and `high` a run is healthy.
struct BandPoint {
  /// As in TracePoint; 0 for a final figure.
  int64_t until = 0;
  double mean = 0, low = 0, high = 0;
};

struct ReferenceTrace {
  std::string stage, objective, init;
  int64_t runs = 0;
  std::map<std::string, std::vector<BandPoint>> curves = {};
  std::map<std::string, BandPoint> finals = {};
  /// Those that all runs share.
  std::map<std::string, std::string> settings = {};
};

/// The bands of `runs`: two or more, of one objective, one init and one length; UserError
/// otherwise.
///
/// A point of a curve: mean ± 4 s √(1 + 1/n), at least 10 % of the mean to each side, with s² the
/// variance between the n runs, averaged over this point and its two neighbours on either side: few
/// seeds say little about a spread, and neighbours share it. s √(1 + 1/n) is the standard error of
/// one more run about the mean of n. Where every value is positive this is done in logarithms, so
/// that a band of several tens of per cent does not reach 0.
///
/// A final figure: the same without neighbours, at least the figure's own floor, and for a share p
/// of N clips also 3 √(p (1 − p) / N), three standard errors of such a share. judge() leaves it
/// open towards better.
ReferenceTrace make_reference(const std::vector<RunTrace>& runs);

/// As a file of configs/tiny/reference/, and read back; UserError names the file and what is wrong
/// with it.
std::string reference_json(const ReferenceTrace& reference);
ReferenceTrace read_reference(const std::filesystem::path& file);

}  // namespace vmla::analysis
