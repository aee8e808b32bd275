#pragma once

#include "analysis/rank/rank_tracker.h"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace vmla::analysis {

/// The ranks of every layer over the steps of a run: the contents of `rank.h5` (docs/formats.md,
/// "Rank log").
///
/// Datasets: /steps [S] and /rank [layers], int64; /r99 [S, layers], int64; /r99_fractional,
/// /stable_rank, /entropy_rank [S, layers] and /spectrum [S, layers, R], fp64, R the largest rank,
/// shorter spectra padded with NaN. The null baseline (rank_tracker.h), where known: /null_r99,
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
  /// The null baseline, one a layer (RankTracker::null_baseline): reports draw it beside the
  /// measured spectra.
  void set_null(std::vector<LayerRank> layers);
  /// Drops what was measured after `step`: a run resumes at an earlier checkpoint.
  void cut_back(int64_t step);

  /// Writes the file, which appears whole or not at all. RunError names it on a fault.
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

/// How much of its rank budget a model uses: the mean over the layers of r_0.99 (with its fraction)
/// over the layer's budget, in 0..1. Neither more nor less is better: near the null baseline's
/// share the bottleneck, not the data, sets the rank. Of measurement `index`, of the last one
/// (there must be one), and of the null baseline (0 without one).
double mean_rank_share(const RankLog& ranks, size_t index);
double last_rank_share(const RankLog& ranks);
double null_rank_share(const RankLog& ranks);

}  // namespace vmla::analysis
