#pragma once

#include "trainer/distributed/mesh.h"

#include <cstdint>
#include <map>
#include <string>

namespace vmla::trainer {

/// What one rank found in a player's update; after reduce_update what the job found.
struct UpdateReport {
  double squared_norm = 0;                // of this rank's part of the summed gradients
  double loss = 0;                        // this rank's clips' share of the batch's mean loss
  std::map<std::string, double> metrics;  // likewise shares; the same names on every rank
  bool stop = false;                      // a signal asked for an end
  uint64_t agreement = 0;                 // hash of what must be equal on all ranks
};

/// Sums over the job's ranks, in one message (fp64): `copies` ranks hold the same gradients, and
/// the ranks of a sequence group the same loss. The hash of what must agree rides on it; RunError
/// names the ranks that differ.
void reduce_update(const distributed::Mesh& mesh, int64_t copies, UpdateReport& report);

/// Mixes `value` into a hash of what must agree.
uint64_t mixed(uint64_t hash, uint64_t value);
uint64_t mixed(uint64_t hash, const std::string& text);

}  // namespace vmla::trainer
