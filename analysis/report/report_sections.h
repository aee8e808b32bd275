#pragma once

#include <optional>
#include <string>
#include <vector>

#include "analysis/page/html_text.h"
#include "analysis/runs/run_contents.h"

/// The sections of one stage's report, each a piece of HTML; shared by the run's and the pipeline's
/// page. What a run did not record is named in place of its section, or left out where that says
/// "".
namespace vmla::analysis {

/// The run's main figures; those that are not known are left out.
std::vector<Card> key_figures(const RunContents& run);

std::string sample_section(const RunContents& run);
std::string measure_section(const RunContents& run);  // "" without measured samples
std::string drift_section(const RunContents& run);    // "" without long rollouts
std::string loss_section(const RunContents& run);
std::string health_section(const RunContents& run);  // "" without steps
std::string rank_section(const RunContents& run);
std::string speed_section(const RunContents& run);
std::string config_section(const RunContents& run);   // "" without a configuration
std::string problem_section(const RunContents& run);  // "" if nothing is missing

/// One sentence: what was trained, how, and for how long.
std::string run_subtitle(const RunContents& run);

/// objective.name with spaces: "teacher forcing".
std::string objective_words(const RunContents& run);

/// The one speed of a stage that pages show: median tokens a second over its steps.
std::optional<double> median_speed(const RunContents& run);

/// A key's last part with spaces for its underscores: "background tint".
std::string in_words(std::string name);

}  // namespace vmla::analysis
