#pragma once

#include "trainer/distributed/collectives/communicator.h"
#include "trainer/distributed/collectives/mesh_shape.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace vmla::distributed {

/// The groups of one rank. Those of one member are there too: they send nothing.
class Mesh {
 public:
  /// Makes a group of the job's ranks in which this one is `ranks[index]`.
  using MakeGroup = std::function<std::unique_ptr<Communicator>(
      const std::string& name, const std::vector<int64_t>& ranks, int64_t index)>;

  /// `make_host`: makes the group for what lies in the host's memory, where `make`'s groups carry
  /// tensors of a GPU; nothing: they carry both.
  Mesh(const MeshShape& shape,
       int64_t rank,
       const MakeGroup& make,
       const MakeGroup& make_host = nullptr);
  /// One process.
  Mesh();

  const MeshShape& shape() const { return shape_; }
  int64_t rank() const { return rank_; }
  /// Writes the run folder and speaks for the job.
  bool is_lead() const { return rank_ == 0; }
  int64_t data_index() const { return rank_ / shape_.sequence; }

  Communicator& world() const { return *world_; }
  /// All ranks, for CPU tensors: texts, counts, figures.
  Communicator& host() const { return host_ ? *host_ : *world_; }
  Communicator& shard() const { return *shard_; }
  Communicator& replica() const { return *replica_; }
  Communicator& sequence() const { return *sequence_; }

  /// Whether `here` is true on every rank. Collective.
  bool everywhere(bool here) const;

  /// What all groups of this rank sent since reset_counters().
  CommCounters counters() const;
  void reset_counters() const;

 private:
  MeshShape shape_;
  int64_t rank_;
  std::unique_ptr<Communicator> world_, shard_, replica_, sequence_, host_;
};

}  // namespace vmla::distributed
