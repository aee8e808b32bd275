#pragma once

#include "trainer/config/train_config.h"
#include "trainer/distributed/collectives/mesh_shape.h"

#include <exception>
#include <string>

namespace vmla::trainer {

/// Whether memory ran out, the host's (operator new's or LibTorch's) or a GPU's.
bool is_out_of_memory(const std::exception& error);

/// What to say of it, in one line: the allocator's words, the most that the plan gives a rank, and
/// what it would be with each setting that lowers it. Without the plan where it cannot be made.
std::string out_of_memory_line(const std::exception& error,
                               const TrainConfig& config,
                               const distributed::MeshShape& mesh);

}  // namespace vmla::trainer
