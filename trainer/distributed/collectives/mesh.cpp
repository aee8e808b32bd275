#include "trainer/distributed/collectives/mesh.h"

#include "model/io/error.h"

#include <ATen/ATen.h>

namespace vmla::distributed {
namespace {

/// `count` ranks from `first` on, `stride` apart.
std::vector<int64_t> ranks_from(int64_t first, int64_t count, int64_t stride) {
  std::vector<int64_t> ranks;
  for (int64_t i = 0; i < count; ++i) ranks.push_back(first + i * stride);
  return ranks;
}

}  // namespace

Mesh::Mesh(const MeshShape& shape, int64_t rank, const MakeGroup& make, const MakeGroup& make_host)
    : shape_(shape), rank_(rank) {
  TORCH_CHECK(shape.world % shape.sequence == 0 && shape.world % shape.shard == 0,
              "a mesh of ",
              shape.world,
              " ranks does not divide");
  // Groups of one name are disjoint: the first rank's number tells them apart.
  const auto group = [&](const char* name, int64_t first, int64_t count, int64_t stride) {
    if (count == 1) return self_communicator(name);
    return make(
        formatted("{}_{}", name, first), ranks_from(first, count, stride), (rank - first) / stride);
  };
  world_ = group("world", 0, shape.world, 1);
  shard_ = group("shard", rank / shape.shard * shape.shard, shape.shard, 1);
  replica_ = group("replica", rank % shape.shard, shape.replicas(), shape.shard);
  if (make_host && shape.world > 1) host_ = make_host("host", ranks_from(0, shape.world, 1), rank);
  sequence_ = group("sequence", rank / shape.sequence * shape.sequence, shape.sequence, 1);
}

bool Mesh::everywhere(bool here) const {
  const at::Tensor missing = at::full({1}, here ? 0 : 1, at::kLong);
  host().all_reduce(missing, ReduceOp::kMax).wait();
  return missing.item<int64_t>() == 0;
}

CommCounters Mesh::counters() const {
  CommCounters sum;
  for (const Communicator* group : {world_.get(), shard_.get(), replica_.get(), sequence_.get()})
    sum += group->counters();
  return sum;
}

void Mesh::reset_counters() const {
  for (Communicator* group : {world_.get(), shard_.get(), replica_.get(), sequence_.get()})
    group->reset_counters();
}

Mesh::Mesh() : Mesh(MeshShape{}, 0, nullptr) {}

}  // namespace vmla::distributed
