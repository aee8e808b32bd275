#pragma once

#include <cstdint>

namespace vmla::distributed {

/// How a job's `world` ranks are arranged, in two ways that do not depend on each other. A sequence
/// group is `sequence` neighbours that share a clip's tokens; a shard group is `shard` neighbours
/// over which flat buffers are cut. Both numbers divide `world`.
struct MeshShape {
  int64_t world = 1;
  int64_t sequence = 1;
  int64_t shard = 1;
  /// How many shares a batch is divided into.
  int64_t data_ranks() const { return world / sequence; }
  /// How many ranks hold the same part of the buffers.
  int64_t replicas() const { return world / shard; }
};

}  // namespace vmla::distributed
