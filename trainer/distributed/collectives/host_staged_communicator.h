#pragma once

#include "trainer/distributed/collectives/communicator.h"

namespace vmla::distributed {

/// Takes tensors of any device and moves them through host memory over `host`, a group for CPU
/// tensors: so two ranks can share one GPU, which NCCL refuses, and a GPU's results can be compared
/// with a CPU's. Slow: starting an operation waits for the device. Its wait() returns once the copy
/// of the result to the device is queued.
std::unique_ptr<Communicator> host_staged_communicator(std::unique_ptr<Communicator> host);

}  // namespace vmla::distributed
