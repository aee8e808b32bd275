#pragma once

#include "kernels/cuda/kernel_table.h"

namespace vmla::kernels::cuda {

/// cuda::Record, by LibTorch's own capture.
std::unique_ptr<Graph> record(const std::function<void()>& work, int device, const Graph* before);

}  // namespace vmla::kernels::cuda
