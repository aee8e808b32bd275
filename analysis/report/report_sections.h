#pragma once

#include <string>
#include <utility>
#include <vector>

#include "analysis/runs/run_reading.h"

/// The sections of one stage's report, each a piece of HTML; shared by the run's and the pipeline's
/// page.
namespace vmla::analysis {

/// Label and value of the run's main figures; those that are not known are left out.
std::vector<std::pair<std::string, std::string>> key_figures(const RunContents& run);

std::string loss_section(const RunContents& run);
std::string sample_section(const RunContents& run);
std::string measure_section(const RunContents& run);
std::string drift_section(const RunContents& run);   // "" without long rollouts
std::string health_section(const RunContents& run);  // "" without steps
std::string rank_section(const RunContents& run);
std::string speed_section(const RunContents& run);
std::string config_section(const RunContents& run);
std::string problem_section(const RunContents& run);

/// One sentence: what was trained, how, and for how long.
std::string run_subtitle(const RunContents& run);

/// Plots of one quantity of the composed map: final spectra (s_i / s_1) of all layers beside the
/// null.
std::string spectrum_plot(const RankLog& ranks, const std::string& title);

/// Whether the stage's own samples take the few steps of a student.
bool samples_in_few_steps(const RunContents& run);

/// How many network passes a sampled chunk takes: "16 × 2 passes" with guidance, "4 passes" in few
/// steps; "" when unknown.
std::string sampling_passes(const RunContents& run);
/// Entries of a list as flat_yaml writes it.
size_t list_length(const std::string& list);

/// "87.5 %"; "–" when unknown.
std::string percent(std::optional<double> share);

}  // namespace vmla::analysis
