#pragma once

#include "trainer/distributed/collectives/communicator.h"
#include "trainer/distributed/collectives/mesh_shape.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace vmla::distributed {

/// The groups that one rank belongs to, and owns its ends of. A group of one member is there too,
/// and sends nothing.
class Mesh {
 public:
  /// Makes this rank's end of a group: `ranks` by their numbers in the job, of which this rank is
  /// `ranks[index]`.
  using MakeGroup = std::function<std::unique_ptr<Communicator>(
      const std::string& name, const std::vector<int64_t>& ranks, int64_t index)>;

  /// Collective: all ranks make their groups in the same order. `make_host` makes the group for CPU
  /// tensors where `make`'s groups carry only tensors of a GPU; nothing: they carry both.
  Mesh(const MeshShape& shape,
       int64_t rank,
       const MakeGroup& make,
       const MakeGroup& make_host = nullptr);
  /// Of a job of one process.
  Mesh();

  const MeshShape& shape() const { return shape_; }
  int64_t rank() const { return rank_; }
  /// Rank 0: the one that writes the run folder, and the log on the terminal.
  bool is_lead() const { return rank_ == 0; }
  /// Which share of a batch this rank works on, of shape().data_ranks(); ranks of a sequence group
  /// have the same.
  int64_t data_index() const { return rank_ / shape_.sequence; }

  /// All ranks.
  Communicator& world() const { return *world_; }
  /// All ranks, for CPU tensors: texts, counts, measured figures.
  Communicator& host() const { return host_ ? *host_ : *world_; }
  /// The ranks over which flat buffers are cut, and those that hold the same part as this one.
  Communicator& shard() const { return *shard_; }
  Communicator& replica() const { return *replica_; }
  /// The ranks that share a clip's tokens.
  Communicator& sequence() const { return *sequence_; }

  /// Whether `here` is true on every rank. Collective.
  bool everywhere(bool here) const;

  /// What this rank's groups sent since reset_counters(), without the host's where that is another.
  CommCounters counters() const;
  void reset_counters() const;

 private:
  MeshShape shape_;
  int64_t rank_;
  std::unique_ptr<Communicator> world_, shard_, replica_, sequence_, host_;
};

}  // namespace vmla::distributed
