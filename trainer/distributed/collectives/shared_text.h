#pragma once

#include "trainer/distributed/collectives/communicator.h"

#include <string>

namespace vmla::distributed {

/// The text that rank `root` of the group gives, on every rank; what the others give is ignored.
/// Collective, for a group that carries CPU tensors.
std::string shared_text(Communicator& group, const std::string& mine, int64_t root = 0);

}  // namespace vmla::distributed
