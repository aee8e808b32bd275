#pragma once

#include <c10/core/Device.h>

#include <functional>
#include <memory>

#include "kernels/cuda/kernel_table.h"

/// Work of a GPU that is queued again and again without the host going through its operations.
namespace vmla::kernels {

using CudaGraph = cuda::Graph;

/// Whether the device records work: a GPU, with our module.
bool can_record(c10::Device device);

/// cuda::Record on a device that can.
std::unique_ptr<CudaGraph> record(c10::Device device,
                                  const std::function<void()>& work,
                                  const CudaGraph* before = nullptr);

/// Whether this thread is recording.
bool is_recording();

}  // namespace vmla::kernels
