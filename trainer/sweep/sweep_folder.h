#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "trainer/sweep/sweep_plan.h"

/// What a sweep's run folder holds besides its tables (docs/formats.md "Sweep").
namespace vmla::trainer {

/// The shared stages of each run, by the run's folder relative to the sweep's
/// ("cells/CELL/seed_S").
using SweepRuns = std::map<std::string, std::vector<std::string>>;

SweepRuns runs_of(const SweepPlan& plan, const std::filesystem::path& run_dir);

/// The text of sweep.yaml, the mark of a sweep's folder: its name and its runs.
std::string sweep_yaml(const std::string& name, const SweepRuns& runs);

/// The runs of the sweep that was started in `run_dir` before; none without one. UserError where
/// its sweep.yaml is damaged.
SweepRuns earlier_runs(const std::filesystem::path& run_dir);

/// What is other than at the last start, a sentence each: runs that are new, that have other
/// settings, that the file no longer has.
std::vector<std::string> changes_since(const SweepRuns& before, const SweepRuns& now);

/// Makes every run's folder: of a pipeline pipeline.yaml, configs/STAGE.yaml and a link STAGE to
/// the stage's own folder, of one stage that link alone. What was made of other stages is removed.
/// UserError where something else stands in the way.
void make_run_folders(const SweepPlan& plan, bool is_stage);

}  // namespace vmla::trainer
