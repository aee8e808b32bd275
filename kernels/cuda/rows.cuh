#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <initializer_list>

#include "kernels/cuda/launch.h"
#include "kernels/element.h"

// How kernels over rows of channels share the work: a warp takes a row, a block several rows, and
// the grid strides over all rows, so that no size is too large for a grid.
namespace vmla::kernels::cuda {

constexpr int kWarpSize = 32;
constexpr int kRowsPerBlock = 8;
constexpr int kThreads = kWarpSize * kRowsPerBlock;

/// Blocks of a grid over `items` of which a block takes `per_block`: at least one, and no more than
/// keep any device busy.
inline unsigned blocks_for(int64_t items, int64_t per_block) {
  constexpr int64_t kMostBlocks = 65536;
  const int64_t blocks = (items + per_block - 1) / per_block;
  return static_cast<unsigned>(blocks < 1 ? 1 : blocks > kMostBlocks ? kMostBlocks : blocks);
}
inline unsigned row_blocks(int64_t rows) {
  return blocks_for(rows, kRowsPerBlock);
}

/// Queues kernel(args...) in a stream; 0, or why CUDA refuses it. Every kernel starts here, by a
/// plain call, so that another compiler can build the same files for the host
/// (tests/kernels/host_cuda).
template <class... Params, class... Args>
Status launch(
    void (*kernel)(Params...), dim3 grid, dim3 block, Stream stream, const Args&... args) {
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.stream = stream;
  const Status status = cudaLaunchKernelEx(&config, kernel, args...);
  if (status != cudaSuccess) cudaGetLastError();  // the next call must not report it again
  return status;
}

/// An array that the threads of a block share: VMLA_SHARED(float, part, [8][32]). Holds anything
/// at the start of a block.
#ifndef VMLA_SHARED
#define VMLA_SHARED(type, name, extents) __shared__ type name extents
#endif

__device__ inline int lane_index() {
  return static_cast<int>(threadIdx.x) % kWarpSize;
}
__device__ inline int64_t first_row() {
  return static_cast<int64_t>(blockIdx.x) * kRowsPerBlock + threadIdx.x / kWarpSize;
}
__device__ inline int64_t row_step() {
  return static_cast<int64_t>(gridDim.x) * kRowsPerBlock;
}

/// The same for kernels in which a thread takes single elements.
__device__ inline int64_t first_item() {
  return static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
}
__device__ inline int64_t item_step() {
  return static_cast<int64_t>(gridDim.x) * kThreads;
}

__device__ inline float read(const float* from, int64_t i) {
  return from[i];
}
__device__ inline float read(const __nv_bfloat16* from, int64_t i) {
  return __bfloat162float(from[i]);
}
__device__ inline float read(const int8_t* from, int64_t i) {
  return static_cast<float>(from[i]);
}
__device__ inline void write(float* to, int64_t i, float value) {
  to[i] = value;
}
__device__ inline void write(__nv_bfloat16* to, int64_t i, float value) {
  to[i] = __float2bfloat16_rn(value);
}

/// What a lane takes of a row at once: 16 bytes in bf16, twice 16 in fp32, which is as much as one
/// instruction moves, and 8 in eight bits. 1 where a row's place or length does not allow it
/// (takes_packs).
constexpr int kPack = 8;

template <int N, class T>
struct alignas(N * sizeof(T) < 16 ? N * sizeof(T) : 16) Pack {
  T values[N];
};

template <int N, class T>
__device__ inline void read_pack(const T* from, int64_t i, float (&into)[N]) {
  const Pack<N, T> pack = *reinterpret_cast<const Pack<N, T>*>(from + i);
  for (int k = 0; k < N; ++k) into[k] = read(pack.values, k);
}
template <int N, class T>
__device__ inline void write_pack(T* to, int64_t i, const float (&from)[N]) {
  Pack<N, T> pack;
  for (int k = 0; k < N; ++k) write(pack.values, k, from[k]);
  *reinterpret_cast<Pack<N, T>*>(to + i) = pack;
}

/// Where rows of channels lie: the first one, and how many elements are between two of them.
struct RowPlace {
  const void* first;
  int64_t stride, outer_stride = 0;
};
/// Whether all rows of D elements begin where a pack may and are whole packs long.
inline bool takes_packs(int64_t D, std::initializer_list<RowPlace> rows) {
  if (D % kPack != 0) return false;
  for (const RowPlace& r : rows) {
    if (reinterpret_cast<uintptr_t>(r.first) % 16 != 0) return false;
    if (r.stride % kPack != 0 || r.outer_stride % kPack != 0) return false;
  }
  return true;
}
/// Calls launch(Count<N>) with what a lane takes at once.
template <int N>
struct Count {
  static constexpr int value = N;
};
template <class Launch>
Status with_packs(bool packs, Launch launch) {
  return packs ? launch(Count<kPack>{}) : launch(Count<1>{});
}

/// The sum over the 32 lanes of a warp, in each of them; all lanes take part.
__device__ inline float warp_sum(float value) {
  for (int distance = kWarpSize / 2; distance > 0; distance /= 2) {
    value += __shfl_xor_sync(0xFFFFFFFFu, value, distance);
  }
  return value;
}

template <class T>
struct TypeOf {
  using type = T;
};

/// Calls launch(TypeOf<T>) with the type of the buffers; its result, or CUDA's "invalid value".
template <class Launch>
Status with_element(Element element, Launch launch) {
  switch (element) {
    case Element::kFloat:
      return launch(TypeOf<float>{});
    case Element::kBFloat16:
      return launch(TypeOf<__nv_bfloat16>{});
    case Element::kDouble:
      break;
  }
  return cudaErrorInvalidValue;
}

/// Calls launch(TypeOf<T>, TypeOf<W>): W is the type of weights and modulation: fp32, or equal to
/// T.
template <class Launch>
Status with_elements(Element element, Element other, Launch launch) {
  return with_element(element, [&](auto type) -> Status {
    if (other == Element::kFloat) return launch(type, TypeOf<float>{});
    if (other == element) return launch(type, type);
    return cudaErrorInvalidValue;
  });
}

/// Calls launch(TypeOf<T>, TypeOf<Y>, TypeOf<W>): T of what a block passes on, Y of what is
/// computed from it: the same, or bf16 beside fp32. W as with_elements().
template <class Launch>
Status with_elements(Element element, Element y_element, Element other, Launch launch) {
  if (element == y_element) {
    return with_elements(
        element, other, [&](auto type, auto row) -> Status { return launch(type, type, row); });
  }
  if (element != Element::kFloat || y_element != Element::kBFloat16 || other != Element::kFloat)
    return cudaErrorInvalidValue;
  return launch(TypeOf<float>{}, TypeOf<__nv_bfloat16>{}, TypeOf<float>{});
}

}  // namespace vmla::kernels::cuda
