#pragma once

#include "trainer/distributed/collectives/mesh.h"

namespace vmla::distributed {

/// One rank of a group whose other ranks do not exist: it counts what would be sent, and sends
/// nothing. For plans, on tensors of the device meta; other tensors keep what they hold, so results
/// mean nothing.
std::unique_ptr<Communicator> dry_communicator(std::string name, int64_t rank, int64_t size);

/// Rank 0 of a job whose other ranks do not exist.
Mesh dry_mesh(const MeshShape& shape);

}  // namespace vmla::distributed
