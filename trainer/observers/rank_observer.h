#pragma once

#include "analysis/rank/latent_statistics.h"
#include "analysis/rank/rank_log.h"
#include "data/store/latent_dataset.h"
#include "trainer/config/train_config.h"
#include "trainer/distributed/collectives/mesh.h"
#include "trainer/roles/role_set.h"

#include <filesystem>
#include <string>
#include <vector>

namespace vmla::trainer {

/// Measures the effective rank of every latent-attention layer while the generator trains, of the
/// latents of held-out clips, and how far the down-projections have turned since the stage began;
/// of a dense model the rank of each layer's joint operator [W_K; W_V] (docs/algorithms.md 13). The
/// lead measures and keeps the log; the other ranks only help to gather the weights. Nothing is
/// measured with rank.every: 0.
class RankObserver {
 public:
  /// On resume at `step` > 0 goes on with what rank.h5 holds up to that step. `init_method`: how
  /// the generator's latent attention began, in this stage or an earlier one.
  RankObserver(const TrainConfig& config,
               const std::filesystem::path& run_dir,
               int64_t step,
               const std::string& init_method,
               const distributed::Mesh& mesh);

  /// Measures the generator's weights as they are after `step` steps, unless that step is in the
  /// log already, and rank.activation_clips of `held_out` (null: none). Collective where weights
  /// or tokens are spread over ranks.
  void measure(int64_t step, RoleSet& roles, const data::LatentDataset* held_out);
  /// Writes rank.h5 (docs/formats.md "Rank log") on the lead, where anything was measured.
  void write() const;
  /// On the lead; empty elsewhere.
  const analysis::RankLog& log() const { return log_; }

 private:
  /// What `layer_of` takes from each layer's weights, on the lead; elsewhere nothing. Collective.
  template <class Layer>
  std::vector<Layer> gather(RoleSet& roles,
                            Layer (*layer_of)(int64_t, const model::TensorMap&)) const;
  bool has_measured(int64_t step) const;
  void measure_latent_attention(int64_t step, RoleSet& roles, const data::LatentDataset* held_out);
  void measure_dense(int64_t step, RoleSet& roles);
  void begin(const std::vector<analysis::LatentProjections>& layers, int64_t step);
  analysis::RankExtras extras(const std::vector<analysis::LatentProjections>& layers,
                              const std::vector<analysis::LatentStatistics>& latents) const;

  const TrainConfig& config_;
  std::filesystem::path file_, start_file_;
  const distributed::Mesh& mesh_;
  analysis::RankTracker tracker_;
  analysis::RankLog log_;
  /// [R, D] of each layer: what the rows of its down-projection spanned when the stage began. Empty
  /// in a run that did not measure then.
  std::vector<at::Tensor> start_;
};

}  // namespace vmla::trainer
