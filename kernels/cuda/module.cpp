// What the program finds in libvmla_cuda.so. Kernels run on the device and in the stream that
// LibTorch works on.
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "kernel_table_hash.h"
#include "kernels/cuda/graph.h"
#include "kernels/cuda/launch_table.h"

namespace vmla::kernels::cuda {
namespace {

/// `launch` on LibTorch's current stream of the device, which is made the current one meanwhile.
template <class Params, Status (*launch)(const Params&, Stream)>
struct Run {
  static void call(const Params& params, int device) {
    const auto index = static_cast<c10::DeviceIndex>(device);
    const c10::cuda::CUDAGuard guard(index);
    C10_CUDA_CHECK(
        static_cast<cudaError_t>(launch(params, c10::cuda::getCurrentCUDAStream(index).stream())));
  }
};

std::string why_unusable() {
  int count = 0;
  const cudaError_t counted = cudaGetDeviceCount(&count);
  if (counted == cudaErrorInsufficientDriver) {
    return "the NVIDIA driver is older than this CUDA needs";
  }
  if (counted == cudaErrorNoDevice || (counted == cudaSuccess && count == 0)) {
    return "no GPU is visible";
  }
  return counted == cudaSuccess ? "" : cudaGetErrorString(counted);
}

std::string lock_pages(void* begin, size_t bytes) {
  const cudaError_t locked = cudaHostRegister(begin, bytes, cudaHostRegisterPortable);
  if (locked == cudaSuccess) return {};
  (void)cudaGetLastError();  // or the next kernel would be blamed for it
  return cudaGetErrorString(locked);
}

void unlock_pages(void* begin) {
  // An error here means that the driver is gone already, and with it the lock.
  if (cudaHostUnregister(begin) != cudaSuccess) (void)cudaGetLastError();
}

constexpr KernelTable kTable = launch_table<Run>(why_unusable, lock_pages, unlock_pages, record);

}  // namespace
}  // namespace vmla::kernels::cuda

extern "C" __attribute__((visibility("default"))) const char* vmla_cuda_table_hash() {
  return kKernelTableHash;
}

extern "C" __attribute__((visibility("default"))) const vmla::kernels::cuda::KernelTable*
vmla_cuda_kernels() {
  return &vmla::kernels::cuda::kTable;
}
