#pragma once

#include "kernels/adamw/adamw_params.h"

namespace vmla::kernels {

/// One pass over memory.
void adamw_cpu(const AdamwParams& params);

}  // namespace vmla::kernels
