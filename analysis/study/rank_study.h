#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "analysis/rank/rank_log.h"
#include "analysis/rank/rank_tracker.h"
#include "model/formats/safetensors.h"

/// The effective rank of finished checkpoints: what the tracker measures during training, from
/// files.
namespace vmla::analysis {

/// The latent projections of every layer of an MLA model, by their checkpoint names. UserError,
/// with `source` in front, if there is none (a dense model), one is incomplete, or the shapes do
/// not fit.
std::vector<LatentProjections> latent_layers(const model::TensorMap& tensors,
                                             const std::string& source);

/// One measured checkpoint.
struct RankPoint {
  /// The run it belongs to.
  std::string series;
  /// How its latents were initialised; "" if unknown.
  std::string init;
  int64_t step = 0;
  /// Its ranks, one a layer; those of a series' last point stand beside its nulls.
  std::vector<LayerRank> layers;
  RankNulls nulls;
  /// Of activations and of the subspace, where they were measured.
  RankExtras extras;
};

/// Writes into the folder `out` (made if missing) rank.h5 in the run folder's layout, rank.csv,
/// rank.svg and rank.html. Points of one series are sorted by step; with several series each has
/// its rank.h5 in a folder of its name, and `out`/rank.h5 is that of the first. UserError for a
/// series in which a step comes twice or the number of layers changes.
void write_rank_study(std::vector<RankPoint> points, const std::filesystem::path& out);

}  // namespace vmla::analysis
