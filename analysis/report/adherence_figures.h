#pragma once

#include <optional>
#include <string>
#include <vector>

#include "analysis/runs/run_contents.h"

/// What summary.json says of caption adherence, as pages may claim it: a clip counts as right in
/// colour, shape or direction only if a shape is there (analysis/video/presence.h).
namespace vmla::analysis {

/// The share of clips that show `what` ("colour", "shape", "direction") of a shape that is there.
/// `prefix` is that of the figures: "" or "few_step.". Of a run that was measured before presence
/// was, the share without that condition.
std::optional<double> right_share(const RunContents& run,
                                  const std::string& prefix,
                                  const std::string& what);

/// The same of long videos, by window; nullptr where they were not measured.
const std::vector<double>* right_shares(const RunContents& run, const std::string& what);

/// The share of clips in which a shape is there throughout; nothing for a run that was measured
/// before this was.
std::optional<double> present_share(const RunContents& run, const std::string& prefix = "");

/// One sentence (HTML) on what the shares of `run` are shares of.
std::string adherence_meaning(const RunContents& run);

/// Sentences (plain text) on what the final measures show amiss: drift above its band, shapes that
/// are not there. Empty where nothing is, or nothing was measured.
std::vector<std::string> measured_concerns(const RunContents& run);

}  // namespace vmla::analysis
