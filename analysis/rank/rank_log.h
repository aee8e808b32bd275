#pragma once

#include "analysis/rank/rank_tracker.h"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace vmla::analysis {

/// The ranks of every layer over the steps of a run: the contents of `rank.h5`.
///
/// Datasets: /steps [S] and /rank [layers], int64; /r99 [S, layers], int64; /r99_fractional,
/// /stable_rank, /entropy_rank [S, layers] and /spectrum [S, layers, R], fp64, R the largest rank,
/// shorter spectra padded with NaN. The null baseline, where known: /null_r99,
/// /null_r99_fractional, /null_stable_rank, /null_entropy_rank [layers] and /null_spectrum [layers,
/// R]. Attributes: `rank_budget` (the largest rank), `init` (how the latents were initialised).
class RankLog {
 public:
  RankLog() = default;
  /// `init` is init.method's name, or "" for weights of unknown origin.
  explicit RankLog(std::string init) : init_(std::move(init)) {}

  /// Adds one measurement. Steps ascend, and all measurements have the same layers; c10::Error
  /// otherwise.
  void append(int64_t step, std::vector<LayerRank> layers);
  /// One null a layer, beside which reports draw the measured spectra.
  void set_null(std::vector<LayerRank> layers);
  /// Drops what was measured after `step` (a run that resumes at an earlier checkpoint).
  void cut_back(int64_t step);

  /// Writes the file atomically (publish_file). RunError names the file on a fault.
  void write(const std::filesystem::path& path) const;
  /// Reads such a file back, all of it. UserError names the file and what is wrong with it.
  static RankLog read(const std::filesystem::path& path);

  const std::vector<int64_t>& steps() const { return steps_; }
  /// measurements()[i][layer] was taken at steps()[i].
  const std::vector<std::vector<LayerRank>>& measurements() const { return measurements_; }
  const std::vector<LayerRank>& null() const { return null_; }
  const std::string& init() const { return init_; }
  int64_t num_layers() const;
  int64_t rank_budget() const;  // the largest rank of any layer

 private:
  std::string init_;
  std::vector<int64_t> steps_;
  std::vector<std::vector<LayerRank>> measurements_;
  std::vector<LayerRank> null_;
};

/// Mean over the layers of r_0.99 / budget at measurement `index`, and of the null (0 without one).
double mean_rank_share(const RankLog& ranks, size_t index);
double null_rank_share(const RankLog& ranks);

}  // namespace vmla::analysis
