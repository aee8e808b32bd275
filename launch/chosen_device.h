#pragma once

#include "launch/shared_options.h"

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <cstdint>

namespace vmla::launch {

/// What `--device` and `--precision` ask for.
struct ChosenDevice {
  c10::Device device;
  c10::ScalarType compute_dtype;  // of matrix products and attention
};

/// Makes the device usable and checks its kernels. UserError where this machine or this build has
/// no CUDA.
ChosenDevice open_device(const ComputeArgs& args);
/// The same for a rank of a job, each of which has a GPU of its own.
ChosenDevice open_device_of_rank(const ComputeArgs& args, int64_t local_rank);

}  // namespace vmla::launch
