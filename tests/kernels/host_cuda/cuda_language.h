#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "tests/kernels/host_cuda/grid.h"

// The part of CUDA's language and runtime that kernels/cuda uses, for a C++ compiler. A kernel is a
// plain function, a launch runs its grid before it returns (grid.h), and a stream is nothing.

// NOLINTBEGIN(readability-identifier-naming): CUDA's names
#define __global__
#define __device__
#define __launch_bounds__(...)

// Blocks run one after another, so that one array serves them all.
#define VMLA_SHARED(type, name, extents) \
  static type name extents;              \
  ::vmla::tests::host_cuda::poison_shared(name, sizeof(name))

struct CUstream_st;
using cudaStream_t = CUstream_st*;

// By CUDA's numbers.
enum cudaError_t : int {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorInvalidConfiguration = 9
};

struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  cudaStream_t stream;
};

template <class... Params, class... Args>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config,
                               void (*kernel)(Params...),
                               const Args&... args) {
  if (!vmla::tests::host_cuda::is_valid_grid(config->gridDim, config->blockDim)) {
    return cudaErrorInvalidConfiguration;
  }
  // Each thread has parameters of its own, copied and converted as CUDA does.
  vmla::tests::host_cuda::run_grid(
      config->gridDim, config->blockDim, [&] { kernel(static_cast<Params>(args)...); });
  return cudaSuccess;
}

inline cudaError_t cudaGetLastError() {
  return cudaSuccess;
}

inline void __syncthreads(const std::source_location& where = std::source_location::current()) {
  vmla::tests::host_cuda::wait_for_block(where);
}

template <class T>
T __shfl_sync(uint32_t mask,
              T value,
              int source,
              const std::source_location& where = std::source_location::current()) {
  static_assert(sizeof(T) <= sizeof(uint64_t));
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = vmla::tests::host_cuda::exchange_in_warp(mask, bits, source, where);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}
template <class T>
T __shfl_xor_sync(uint32_t mask,
                  T value,
                  int distance,
                  const std::source_location& where = std::source_location::current()) {
  return __shfl_sync(mask, value, vmla::tests::host_cuda::lane_of_thread() ^ distance, where);
}
template <class T>
T __shfl_down_sync(uint32_t mask,
                   T value,
                   int distance,
                   const std::source_location& where = std::source_location::current()) {
  const int source = std::min(vmla::tests::host_cuda::lane_of_thread() + distance, 31);
  return __shfl_sync(mask, value, source, where);
}
inline void __syncwarp(uint32_t mask = 0xFFFFFFFFu,
                       const std::source_location& where = std::source_location::current()) {
  __shfl_sync(mask, 0, vmla::tests::host_cuda::lane_of_thread(), where);
}

struct __nv_bfloat16 {
  uint16_t bits;
};
inline float __bfloat162float(__nv_bfloat16 value) {
  return std::bit_cast<float>(static_cast<uint32_t>(value.bits) << 16);
}
/// To nearest, ties to even; NaN becomes the one that CUDA writes.
inline __nv_bfloat16 __float2bfloat16_rn(float value) {
  if (std::isnan(value)) return {0x7FFF};
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t half = 0x7FFF + (bits >> 16 & 1);
  return {static_cast<uint16_t>((bits + half) >> 16)};
}

using std::isfinite;
// NOLINTEND(readability-identifier-naming)
