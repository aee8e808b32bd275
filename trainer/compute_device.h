#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "trainer/config/train_config.h"

namespace vmla::trainer {

/// Makes a device usable: for "cuda" loads the CUDA module. To be called before anything asks
/// LibTorch about CUDA. UserError, which names the key or flag `option`, where this machine or this
/// build has no CUDA.
void prepare_device(const std::string& device, const std::string& option = "train.device");

/// Chooses the GPU that "cuda" means in this process, and returns its index among those that the
/// process sees: number `local_rank` (the rank's number on its machine), or the only one. With
/// `shared`, ranks may share GPUs, dealt out in turn. After prepare_device("cuda"). UserError,
/// which names the key or flag `option`, where there are too few.
int64_t use_gpu_of_rank(int64_t local_rank,
                        bool shared,
                        const std::string& option = "train.device");

/// From now on every operation runs as the configuration says: `kernels`, and
/// train.deterministic.
void use_kernels(const TrainConfig& config);

/// On "cuda", UserError where the GPU that this process has chosen cannot run the module's kernels,
/// as far as its driver says. Then compares each kernel with its reference on the GPU that this
/// process has chosen, and says which ones disagree and are switched off
/// (kernels/kernel_self_check.h). After use_gpu_of_rank, where there are ranks; every rank speaks
/// for its own GPU.
void check_kernels_on(const std::string& device);

/// From now on attention on GPUs runs as kernels.attention says. On "cuda" the kernel is compared
/// with the formulas first, and flash runs instead of one that disagrees, which is said. After
/// use_gpu_of_rank, where there are ranks.
void use_attention(const KernelsConfig& config, at::Device device);

/// Bytes of memory that the GPU of this process has in all, after prepare_device("cuda").
double device_memory();

}  // namespace vmla::trainer
