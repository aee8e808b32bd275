#pragma once

#include "analysis/rank/rank_tracker.h"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace vmla::analysis {

/// What a measurement may hold besides the weights' ranks; each empty, or one entry a layer.
struct RankExtras {
  /// LatentStatistics::latents() and ::content() on held-out clips.
  std::vector<LayerRank> latents = {}, content = {};
  /// Cosines of the principal angles between what the rows of the down-projection span now and
  /// spanned at the start (subspace.h).
  std::vector<Spectrum> cosines = {};
};

/// The ranks of every layer over the steps of a run, latents' or those of dense layers: the
/// contents of `rank.h5` (docs/formats.md, "Rank log", lists the datasets).
class RankLog {
 public:
  RankLog() = default;
  /// `init` is init.method's name, or "" for weights of unknown origin.
  explicit RankLog(std::string init) : init_(std::move(init)) {}

  /// Adds one measurement. Steps ascend, and all measurements have the same layers; c10::Error
  /// otherwise.
  void append(int64_t step, std::vector<LayerRank> layers, RankExtras extras = {});
  /// What layers without structure have; reports draw it beside the measured spectra.
  void set_nulls(RankNulls nulls) { nulls_ = std::move(nulls); }
  /// Numbers d of singular values, ascending: the file says the share of the energy in the first d
  /// of every spectrum.
  void set_energy_ranks(std::vector<int64_t> ranks) { energy_ranks_ = std::move(ranks); }
  /// Drops what was measured after `step`: a run resumes at an earlier checkpoint.
  void cut_back(int64_t step);

  /// Writes the file, which appears whole or not at all. RunError names it on a fault.
  void write(const std::filesystem::path& path) const;
  /// Reads such a file back, all of it. UserError names the file and what is wrong with it.
  static RankLog read(const std::filesystem::path& path);

  const std::vector<int64_t>& steps() const { return steps_; }
  /// measurements()[i][layer] was taken at steps()[i].
  const std::vector<std::vector<LayerRank>>& measurements() const { return measurements_; }
  /// extras()[i] was measured at steps()[i].
  const std::vector<RankExtras>& extras() const { return extras_; }
  const RankNulls& nulls() const { return nulls_; }
  /// The random product's.
  const std::vector<LayerRank>& null() const { return nulls_.product; }
  const std::vector<int64_t>& energy_ranks() const { return energy_ranks_; }
  const std::string& init() const { return init_; }
  /// Measured was the joint operator [W_K; W_V] of dense layers, not latents' maps: a layer's rank
  /// is no budget, but the number of its singular values.
  bool is_joint() const { return !nulls_.gaussian.empty(); }
  int64_t num_layers() const;
  int64_t rank_budget() const;  // the largest rank of any layer

 private:
  std::string init_;
  std::vector<int64_t> steps_;
  std::vector<std::vector<LayerRank>> measurements_;
  std::vector<RankExtras> extras_;
  RankNulls nulls_;
  std::vector<int64_t> energy_ranks_;
};

/// How much of its rank budget a model uses: the mean over the layers of one of a layer's ranks
/// over its budget, in 0..1; 0 without layers. Neither more nor less is better: near the nulls'
/// share the bottleneck, not the data, sets the rank.
double rank_share(const std::vector<LayerRank>& layers, double EffectiveRank::* figure);

/// The same of r_0.99 (with its fraction), of measurement `index`, of the last one (there must be
/// one), and of the random product (0 without one).
double mean_rank_share(const RankLog& ranks, size_t index);
double last_rank_share(const RankLog& ranks);
double null_rank_share(const RankLog& ranks);

}  // namespace vmla::analysis
