#pragma once

#include "model/network/wan_dit.h"
#include "trainer/inputs/media_info.h"

namespace vmla::trainer {

/// The first of the invariants of docs/architecture.md "What always holds", on the run's own
/// network and shapes: the masked forward of teacher forcing equals denoising chunk by chunk
/// against the cache (docs/algorithms.md 3.4). Compares the two flows of one clip of Gaussian
/// latents at t = 500. Returns the largest difference over the rms of the flow; RunError where that
/// is above `tolerance`. Collective where weights or tokens are spread over ranks.
double check_mask_equals_cache(const model::Network& network,
                               const ClipShape& clip,
                               at::Device device,
                               double tolerance);

}  // namespace vmla::trainer
