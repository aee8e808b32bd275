#pragma once

#include "analysis/rank/rank_log.h"
#include "trainer/config/train_config.h"
#include "trainer/distributed/collectives/mesh.h"
#include "trainer/roles/role_set.h"

#include <filesystem>
#include <string>

namespace vmla::trainer {

/// Measures the effective rank of every latent-attention layer while the generator trains
/// (docs/algorithms.md 13). The lead measures and keeps the log; the other ranks only help to
/// gather the weights. Nothing is measured of dense models, nor with rank.every: 0.
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
  /// log already. Collective where weights are cut over ranks.
  void measure(int64_t step, RoleSet& roles);
  /// Writes rank.h5 (docs/formats.md "Rank log") on the lead, where anything was measured.
  void write() const;
  /// On the lead; empty elsewhere.
  const analysis::RankLog& log() const { return log_; }

 private:
  const TrainConfig& config_;
  std::filesystem::path file_;
  const distributed::Mesh& mesh_;
  analysis::RankTracker tracker_;
  analysis::RankLog log_;
};

}  // namespace vmla::trainer
