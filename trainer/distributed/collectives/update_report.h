#pragma once

#include "trainer/distributed/collectives/mesh.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace vmla::trainer {

/// What one rank found in a player's update; after UpdateReduction what the job found.
struct UpdateReport {
  at::Tensor squared_norm;  // of this rank's part of the summed gradients: fp64 []
  at::Tensor loss;          // this rank's clips' share of the batch's mean loss: fp64 []
  std::map<std::string, double> metrics;  // likewise shares; the same names on every rank
  bool stop = false;                      // a signal asked for an end
  uint64_t agreement = 0;                 // hash of what must be equal on all ranks
};

/// Sums over the job's ranks, in one message (fp64): `copies` ranks hold the same gradients, and
/// the ranks of a sequence group the same loss. The hash of what must agree rides on it. Norm and
/// loss stay where they are, without a wait of the host.
class UpdateReduction {
 public:
  UpdateReduction(const distributed::Mesh& mesh, int64_t copies, UpdateReport report);

  at::Tensor squared_norm() const { return sums_[0]; }
  at::Tensor loss() const { return sums_[1]; }
  /// Reads the sums on the host. RunError names the ranks whose hash differs.
  UpdateReport read();

 private:
  const distributed::Mesh& mesh_;
  UpdateReport report_;
  std::vector<double> mine_;  // host numbers that were sent, in order
  at::Tensor sums_;
};

/// Mixes `value` into a hash of what must agree.
uint64_t mixed(uint64_t hash, uint64_t value);
uint64_t mixed(uint64_t hash, const std::string& text);

}  // namespace vmla::trainer
