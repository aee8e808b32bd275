#pragma once

#include "trainer/distributed/communicator.h"

namespace vmla::distributed {

/// One rank of a group whose other ranks do not exist: counts what would be sent and moves nothing.
/// Tensors may be on the device meta; others keep what they hold, so results mean nothing.
std::unique_ptr<Communicator> dry_communicator(std::string name, int64_t rank, int64_t size);

}  // namespace vmla::distributed
