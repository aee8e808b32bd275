#pragma once

#include <filesystem>

/// The pages that people look at. They are made from the run folder's files alone, so they can be
/// made again at any time, and of a run that was stopped; what is missing is named on the page.
/// They are self-contained and open without a network. RunError if a page cannot be written.
namespace vmla::analysis {

/// Writes `run_dir/report.html` for one stage: summary, sampled clips playing, what was measured on
/// them, losses, health, ranks and spectra beside their null baseline, speed, configuration.
void write_run_report(const std::filesystem::path& run_dir);

/// Writes `run_dir/report.html` for a pipeline: the stages compared, then a section for each.
void write_pipeline_report(const std::filesystem::path& run_dir);

}  // namespace vmla::analysis
