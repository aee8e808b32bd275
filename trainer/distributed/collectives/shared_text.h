#pragma once

#include "trainer/distributed/collectives/communicator.h"

#include <string>

namespace vmla::distributed {

/// The text that rank 0 of the group gave, on every rank.
std::string shared_text(Communicator& group, const std::string& mine);

}  // namespace vmla::distributed
