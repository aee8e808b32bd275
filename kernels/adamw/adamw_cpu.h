#pragma once

#include "kernels/adamw/adamw_params.h"

namespace vmla::kernels {

/// One pass over memory, in blocks that stay in the L1 cache.
void adamw_cpu(const AdamwParams& params);

}  // namespace vmla::kernels
