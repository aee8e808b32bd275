#pragma once

#include "trainer/distributed/collectives/mesh.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace vmla::distributed {

/// What one rank found in a player's update; after UpdateReduction::read(), what the job found.
struct UpdateReport {
  /// Of this rank's part of the summed gradients: fp64 [], on the device of `loss`.
  at::Tensor squared_norm;
  /// This rank's clips' share of the batch's mean loss: fp64 [].
  at::Tensor loss;
  /// Shares, likewise, in any floating dtype. The same names on every rank.
  std::map<std::string, at::Tensor> metrics;
  /// A signal asked this rank to stop.
  bool stop = false;
  /// Hash of what must be equal on all ranks: step, data position, configuration, shared draws.
  uint64_t agreement = 0;
};

/// Sums the reports of the job's ranks in one all_reduce (fp64), on which the stop flag and the
/// hash ride along. What several ranks report alike counts once: `copies` ranks hold the same
/// gradients, and the ranks of a sequence group see the same clips. Norm and loss stay on their
/// device, so that the optimizer can use them before the host has waited for anything.
class UpdateReduction {
 public:
  /// Collective. `mesh` outlives it.
  UpdateReduction(const Mesh& mesh, int64_t copies, UpdateReport report);

  /// Of all gradients, and the batch's mean: fp64 [], equal on every rank.
  at::Tensor squared_norm() const { return sums_[0]; }
  at::Tensor loss() const { return sums_[1]; }
  /// Waits for the sums and returns them; `stop` where any rank was asked to. RunError on every
  /// rank, naming those whose hash is not rank 0's.
  UpdateReport read();

 private:
  const Mesh& mesh_;
  UpdateReport report_;
  std::vector<double> sent_;  // what this rank sent of its host's numbers, in the message's order
  at::Tensor sums_;           // fp64: squared norm, loss, the sums of `sent_`, the metrics
};

/// FNV-1a, 64 bits: where a hash begins, and the hash with `value`'s eight bytes or the text's
/// bytes added. The same on every machine.
constexpr uint64_t kHashStart = 0xcbf29ce484222325ull;
uint64_t hash_combine(uint64_t hash, uint64_t value);
uint64_t hash_combine(uint64_t hash, const std::string& text);

}  // namespace vmla::distributed
