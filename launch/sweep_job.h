#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "trainer/sweep/sweep_file.h"

namespace vmla::launch {

struct SweepOptions {
  std::filesystem::path run_dir;
  /// Stages side by side; 0: as many as the file says.
  int64_t jobs = 0;
  /// Ranks of every stage; empty: one process.
  std::string nproc_per_node = {};
  /// Folders with the tables of sweeps: runs that are done there and have all figures are not
  /// trained again.
  std::vector<std::string> reuse = {};
  /// List what would run, and stop.
  bool dry_run = false;
};

/// Checks every cell, then trains what is not finished: first the runs on which `tune` chooses,
/// then the cells. Tables and page are written meanwhile and at the end (docs/formats.md "Sweep").
/// Returns the exit status: 0; 1 where runs failed, which the last line counts; 75 where it was
/// stopped.
int run_sweep(const trainer::SweepFile& file, const SweepOptions& options);

}  // namespace vmla::launch
