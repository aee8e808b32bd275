#pragma once

#include "kernels/attention/merge_part_params.h"

namespace vmla::kernels {

/// One pass over memory. All buffers hold fp32 or all hold fp64.
void merge_part_cpu(const MergePartParams& params);

}  // namespace vmla::kernels
