#pragma once

#include "trainer/distributed/collectives/communicator.h"

namespace vmla::distributed {

/// Takes tensors of any device and moves them through host memory over `host`, a group of the CPU:
/// so two ranks can share one GPU, which NCCL refuses, and a GPU's results can be compared with a
/// CPU's. Slow. start waits for the device; wait returns when the result was queued to it.
std::unique_ptr<Communicator> host_staged_communicator(std::unique_ptr<Communicator> host);

}  // namespace vmla::distributed
