#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "launch/doctor/gpu.h"

/// What is measured on tensors. The device must be usable (trainer::prepare_device). Each of these
/// catches what LibTorch throws and returns it as the `problem` of its line.
namespace vmla::launch::doctor {

/// Every operation of kernels/ against its reference in fp64, forward and gradients, on small odd
/// shapes; and its rate at the size of a block of Wan-1.3B (on a CPU of an eighth of it).
std::vector<KernelFacts> measure_kernels(at::Device device);

/// The shapes that this program's heads have, dense and latent, in the device's dtypes.
std::vector<AttentionFacts> measure_attention(at::Device device);

/// Copies and products of one GPU.
GpuFacts measure_gpu(const kernels::DriverGpu& gpu, int64_t index);

/// FLOP/s of an n x n product on the device, the best of a few.
double gemm_flops(at::Device device, at::ScalarType dtype, int64_t n);

/// Bytes/s, read and written together, of a copy of 256 MB on the device, the best of a few.
double copy_rate(at::Device device);

/// An all-gather over the first `gpus` GPUs, each with a thread of this process.
NcclFacts measure_nccl(int64_t gpus);

/// This machine's name, a store that is served and asked under it, and two processes of the
/// launcher.
NetworkFacts measure_network();

}  // namespace vmla::launch::doctor
