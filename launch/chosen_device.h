#pragma once

#include "launch/shared_options.h"

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

namespace vmla::launch {

/// What `--device` and `--precision` ask for.
struct ChosenDevice {
  c10::Device device;
  c10::ScalarType compute_dtype;  // of matrix products and attention
};

/// Makes the device usable and checks its kernels. UserError where this machine or this build has
/// no CUDA.
ChosenDevice open_device(const ComputeArgs& args);

}  // namespace vmla::launch
