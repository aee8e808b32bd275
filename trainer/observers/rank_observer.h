#pragma once

#include "analysis/rank/rank_log.h"
#include "trainer/config/train_config.h"
#include "trainer/distributed/collectives/mesh.h"
#include "trainer/roles/role_set.h"

#include <filesystem>

namespace vmla::trainer {

/// Measures the effective rank of every latent-attention layer as the generator trains, on the
/// lead. Dense models and `rank.every: 0` measure nothing.
class RankObserver {
 public:
  /// On resume at `step` > 0 goes on with what rank.h5 says up to there.
  RankObserver(const TrainConfig& config,
               const std::filesystem::path& run_dir,
               int64_t step,
               const distributed::Mesh& mesh);

  /// Measures the generator's weights after `step`. Collective where they are cut over ranks; a
  /// step that was measured before is passed over.
  void measure(int64_t step, RoleSet& roles);
  /// Publishes rank.h5 (docs/formats.md "Rank log") where there is anything to say.
  void write() const;
  const analysis::RankLog& log() const { return log_; }

 private:
  const TrainConfig& config_;
  std::filesystem::path file_;
  const distributed::Mesh& mesh_;
  analysis::RankTracker tracker_;
  analysis::RankLog log_;
};

}  // namespace vmla::trainer
