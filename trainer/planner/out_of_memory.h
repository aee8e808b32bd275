#pragma once

#include "trainer/config/train_config.h"
#include "trainer/distributed/collectives/mesh_shape.h"

#include <cstdint>
#include <exception>
#include <string>

namespace vmla::trainer {

/// Whether the error is that memory ran out: the host's (operator new or LibTorch's allocator) or a
/// GPU's.
bool is_out_of_memory(const std::exception& error);

/// The message for such an error, in one line: what the allocator said, the peak that the plan
/// predicts for a rank, and what the peak would be with each setting that lowers it. The plan is
/// left out where it cannot be made, such as without the dataset.
std::string out_of_memory_line(const std::exception& error,
                               const TrainConfig& config,
                               const distributed::MeshShape& mesh);

/// The warning that a plan needs more than its GPU has, in one line; empty where it does not.
/// `device_bytes`: of the GPU, in all.
std::string memory_shortage(int64_t predicted_bytes, double device_bytes);

}  // namespace vmla::trainer
