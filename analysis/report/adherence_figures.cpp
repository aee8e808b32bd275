#include "analysis/report/adherence_figures.h"

#include "analysis/page/short_number.h"
#include "analysis/report/report_sections.h"
#include "model/io/format.h"

namespace vmla::analysis {
namespace {

// Real clips show their shape in 99 % and more; with 96 samples, the sampling error of such a share
// is three times 1 %, rounded up.
constexpr double kMostlyThere = 0.95;

// The name of drift.shift_worst is text, which RunContents does not keep: found again as the figure
// with the largest shift.
std::string worst_shift(const RunContents& run) {
  const std::string prefix = "drift.figures.", suffix = ".shift";
  std::string worst;
  double most = -1;
  for (const auto& [key, value] : run.summary) {
    if (!key.starts_with(prefix) || !key.ends_with(suffix) || value <= most) continue;
    most = value;
    worst = key.substr(prefix.size(), key.size() - prefix.size() - suffix.size());
  }
  return worst;
}

}  // namespace

std::optional<double> right_share(const RunContents& run,
                                  const std::string& prefix,
                                  const std::string& what) {
  const auto gated = run.figure(prefix + "adherence." + what + "_present");
  return gated ? gated : run.figure(prefix + "adherence." + what);
}

const std::vector<double>* right_shares(const RunContents& run, const std::string& what) {
  const std::vector<double>* gated = run.figures("drift.adherence." + what + "_present");
  return gated != nullptr ? gated : run.figures("drift.adherence." + what);
}

std::optional<double> present_share(const RunContents& run, const std::string& prefix) {
  return run.figure(prefix + "adherence.present");
}

std::string adherence_meaning(const RunContents& run) {
  if (present_share(run)) {
    return "Shape there: the share of clips in which something of a real shape's area moves from "
           "beginning to end. Colour, direction and shape count only where it is there.";
  }
  return "Whether a shape is there at all was not measured by this run: a few bright pixels may "
         "count as the right colour and direction.";
}

std::vector<std::string> measured_concerns(const RunContents& run) {
  std::vector<std::string> concerns;
  const auto there = present_share(run);
  if (there && *there < kMostlyThere) {
    concerns.push_back(formatted(
        "samples: a shape is there from beginning to end in {} of the clips.", percent(there)));
  }
  const std::vector<double>* windows = run.figures("drift.adherence.present");
  if (windows != nullptr && !windows->empty() && windows->back() < kMostlyThere) {
    concerns.push_back(formatted(
        "long videos: a shape is there in {} of them in the first window, in {} in the last.",
        percent(windows->front()),
        percent(windows->back())));
  }
  const auto within = run.figure("drift.within_band");
  if (within && *within == 0) {
    const std::string worst = worst_shift(run);
    concerns.push_back(formatted(
        "long videos: drift above its band: the mean moves by {} half widths of the band of real "
        "clips{}.",
        short_number(run.figure("drift.shift")),
        worst.empty() ? "" : ", most in " + in_words(worst)));
  }
  return concerns;
}

}  // namespace vmla::analysis
