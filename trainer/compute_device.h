#pragma once

#include <cstdint>
#include <string>

namespace vmla::trainer {

/// Makes train.device usable: for "cuda" loads the CUDA module. To be called before anything asks
/// LibTorch about CUDA. UserError when this machine or this build cannot do it.
void prepare_device(const std::string& device);

/// Makes the GPU of a rank the one that "cuda" means in this process: the local_rank-th that it
/// sees, or the only one; with `shared` ranks take turns. Returns its index. After
/// prepare_device("cuda"). UserError when there are fewer.
int64_t use_gpu_of_rank(int64_t local_rank, bool shared);

/// Bytes of the GPU that this process uses, after prepare_device("cuda").
double device_memory();

}  // namespace vmla::trainer
