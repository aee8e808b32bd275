#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "trainer/pipeline/pipeline_config.h"
#include "trainer/sweep/sweep_file.h"

/// From the cells of a sweep to runs, and to the stages that have to be trained for them: a stage
/// that several runs have, with equal configuration and equal origin, is trained once.
namespace vmla::trainer {

/// A cell under one seed.
struct SweepRun {
  size_t cell = 0;  // index into the cells that were resolved
  int64_t seed = 0;
  std::string name;  // "CELL/seed_S"
  /// Its stages, in the run's own folder SWEEP/TOP/CELL/seed_S; of a sweep over one stage that is
  /// the stage's folder too.
  PipelineConfig pipeline;
  /// Of each stage: its name in SweepPlan::stages.
  std::vector<std::string> shared;
};

struct SweepPlan {
  std::vector<SweepRun> runs;
  /// Every stage once, named STAGE-HASH after its content, in SweepFile::stages_dir or
  /// SWEEP/stages.
  PipelineConfig stages;

  /// The runs that have this stage.
  std::vector<const SweepRun*> users_of(const std::string& stage) const;
};

/// What SWEEP/TOP is called: of the cells that are compared, and of those that a rate is chosen on.
inline constexpr char kSweepCells[] = "cells";
inline constexpr char kSweepTune[] = "tune";

/// Every cell under every seed, as configurations: the base, the seed of every stage, the sweep's
/// `set` and the cell's settings, in this order. UserError, with the cell in the message: an
/// unknown key, a rule broken, a stage that cannot start from another, a latent of rank 1 (RMSNorm
/// leaves its sign alone), two cells that are one run.
SweepPlan resolve_runs(const SweepFile& file,
                       const std::vector<SweepCell>& cells,
                       const std::vector<int64_t>& seeds,
                       const std::string& top,
                       const std::filesystem::path& run_dir);

/// Takes the runs that `which` names out of the plan, and the stages that no other run has.
void leave_out(SweepPlan& plan, const std::function<bool(const SweepRun&)>& which);

/// Resolves everything that the sweep may come to run: every cell with every value of `tune`, and
/// the runs that the choice is made on. UserError as resolve_runs, and where the curve of `targets`
/// is a validation loss that its stage never measures.
void check_sweep(const SweepFile& file, const std::filesystem::path& run_dir);

/// SHA-256 (64 hex digits) over what decides a stage's result: the keys whose values differ from
/// their defaults, but for those that change no result, with what init_from names. An entry that
/// starts from a stage of `upstream` (name, hash) counts as that hash instead of its path.
std::string stage_hash(const TrainConfig& config,
                       const std::vector<std::pair<std::string, std::string>>& upstream);

}  // namespace vmla::trainer
