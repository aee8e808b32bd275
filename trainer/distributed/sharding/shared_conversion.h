#pragma once

#include "model/conversion/mla_from_dense.h"
#include "trainer/distributed/collectives/communicator.h"

namespace vmla::distributed {

/// Converts layers on all ranks of the group at the same time, where each rank alone would convert
/// all of them: rank r takes every layer l with l mod size = r, and broadcasts its results. The
/// returned function is collective. `mla` says the shapes of what comes out (fp32); it and the
/// group outlive the function.
model::ConvertLayers convert_shared(Communicator& group, const model::ModelConfig& mla);

}  // namespace vmla::distributed
