#pragma once

#include <cstdint>

namespace vmla::distributed {

/// How a job's ranks are arranged. Ranks of a sequence group are neighbours and share a clip; ranks
/// of a shard group are a block of neighbours over which flat buffers are cut.
struct MeshShape {
  int64_t world = 1;
  int64_t sequence = 1;  // divides world
  int64_t shard = 1;     // divides world
  int64_t data_ranks() const { return world / sequence; }
  int64_t replicas() const { return world / shard; }
};

}  // namespace vmla::distributed
