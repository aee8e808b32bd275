#pragma once

#include "trainer/distributed/collectives/communicator.h"

#include <functional>
#include <memory>
#include <vector>

namespace vmla::distributed {

/// A group whose ranks are threads of this process: one communicator a rank, each used by one
/// thread. CPU tensors; sums are formed in rank order. When a rank's communicator is destroyed,
/// whoever waits for that rank, then or later, gets a CommError.
std::vector<std::unique_ptr<Communicator>> thread_communicators(const std::string& name,
                                                                int64_t size);

/// Runs `work` on one thread a rank, each with its communicator, and returns when all are done.
/// Rethrows the error of the lowest rank that failed with anything but CommError, else a CommError.
void on_threads(int64_t size, const std::function<void(Communicator& group)>& work);

}  // namespace vmla::distributed
