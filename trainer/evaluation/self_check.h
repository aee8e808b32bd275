#pragma once

#include "model/network/wan_dit.h"
#include "trainer/inputs/media_info.h"

namespace vmla::trainer {

/// Architecture 8, invariant 1, on the run's own network and shapes: the teacher-forced masked
/// forward of one noisy clip must equal the chunk-by-chunk cached forward. Returns max |Δ| / rms;
/// RunError when it is beyond `tolerance`.
double check_mask_equals_cache(const model::Network& network,
                               const ClipShape& clip,
                               at::Device device,
                               double tolerance);

}  // namespace vmla::trainer
