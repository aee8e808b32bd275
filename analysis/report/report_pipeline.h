#pragma once

#include <string>
#include <vector>

#include "analysis/runs/run_contents.h"

/// The sections of a pipeline's page that look at several stages together.
namespace vmla::analysis {

/// Every stage a row: quality, ranks, speed. What a stage lacks is a dash, so that stages of
/// different kinds share one table.
std::string stage_table_section(const std::vector<RunContents>& stages);

/// The ladder of distillation, a table for each line of stages that start from each other: many
/// steps, the same model in few steps, and each student after it. "" where no stage samples in few
/// steps.
std::string ladder_section(const std::vector<RunContents>& stages);

/// Losses of stages with the same objective in one plot.
std::string loss_comparison_section(const std::vector<RunContents>& stages);

/// r_0.99 as a share of the budget through all stages on one axis, with a mark where each begins,
/// and the final spectra. "" where no stage has latent attention.
std::string rank_comparison_section(const std::vector<RunContents>& stages);

}  // namespace vmla::analysis
