#pragma once

#include "launch/shared_options.h"

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <optional>

namespace vmla::launch {

/// What `--device` and `--precision` ask for.
struct ChosenDevice {
  c10::Device device;
  c10::ScalarType compute_dtype;  // of matrix products and attention
};

/// Makes the device usable and checks its kernels. UserError where this machine or this build has
/// no CUDA. `local_rank`: of a rank of a job, each of which has a GPU of its own.
ChosenDevice open_device(const ComputeArgs& args, std::optional<int64_t> local_rank = std::nullopt);

}  // namespace vmla::launch
