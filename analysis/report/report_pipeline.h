#pragma once

#include <string>
#include <vector>

#include "analysis/runs/run_reading.h"

/// The sections of a pipeline's page that look at several stages together.
namespace vmla::analysis {

/// Every stage a row: quality, ranks, speed.
std::string stage_table_section(const std::vector<RunContents>& stages);

/// The ladder of distillation, one a line of stages that start from each other: many steps, the
/// same model in few steps, and each student after it. "" where no stage samples in few steps.
std::string ladder_section(const std::vector<RunContents>& stages);

/// Losses of stages with the same objective in one plot.
std::string loss_comparison_section(const std::vector<RunContents>& stages);

/// r_0.99 as a share of the budget through all stages on one axis, stages marked, and the final
/// spectra. "" where no stage has latents.
std::string rank_comparison_section(const std::vector<RunContents>& stages);

/// Stages that start from each other, as indices: one list for every stage that no other one starts
/// from, from its first ancestor on.
std::vector<std::vector<size_t>> stage_lines(const std::vector<RunContents>& stages);

/// A link to the stage's own page.
std::string link_to_stage(const std::string& name);

}  // namespace vmla::analysis
