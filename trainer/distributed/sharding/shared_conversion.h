#pragma once

#include "model/conversion/mla_from_dense.h"
#include "trainer/distributed/collectives/communicator.h"

namespace vmla::distributed {

/// Layer l is converted by rank l modulo the group's size, all at the same time, and told to the
/// others. `mla` says the shapes. Both must outlive the result.
model::ConvertLayers convert_shared(Communicator& group, const model::ModelConfig& mla);

}  // namespace vmla::distributed
