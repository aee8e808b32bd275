#include "kernels/cuda/graph.h"

#include <ATen/cuda/CUDAEvent.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <exception>
#include <map>
#include <mutex>

namespace vmla::kernels::cuda {
namespace {

/// The stream that captures of a device are made in, for the default one cannot be captured. It is
/// one for good, because cuBLAS keeps a workspace for every stream that it has worked in. It is of
/// high priority, as only those of NCCL's groups are besides, which rest while a video is sampled:
/// what another thread, such as one that decodes, queued here would be captured too.
c10::cuda::CUDAStream capture_stream(c10::DeviceIndex device) {
  static std::mutex mutex;
  static std::map<c10::DeviceIndex, c10::cuda::CUDAStream> streams;
  const std::lock_guard lock(mutex);
  const auto known = streams.find(device);
  if (known != streams.end()) return known->second;
  const auto made = c10::cuda::getStreamFromPool(/*isHighPriority=*/true, device);
  return streams.emplace(device, made).first->second;
}

class CapturedGraph final : public Graph {
 public:
  CapturedGraph(const std::function<void()>& work, c10::DeviceIndex device, const Graph* before)
      : pool_(before == nullptr ? at::cuda::graph_pool_handle()
                                : static_cast<const CapturedGraph*>(before)->pool_) {
    const c10::cuda::CUDAGuard guard(device);
    // Nothing runs in it, but what is allocated for it may have been freed in the current one.
    const c10::cuda::CUDAStream captured = capture_stream(device);
    at::cuda::CUDAEvent queued;
    queued.record(c10::cuda::getCurrentCUDAStream(device));
    queued.block(captured);
    const c10::cuda::CUDAStreamGuard on(captured);
    // Other threads, such as one that decodes, go on with what a capture would forbid them.
    graph_.capture_begin(pool_, cudaStreamCaptureModeThreadLocal);
    try {
      work();
    } catch (const std::exception&) {
      end_failed_capture(device);
      throw;
    }
    graph_.capture_end();
  }

  void replay() override { graph_.replay(); }

 private:
  /// So that the stream can be used again, and the allocator. What CUDA says once more is known.
  void end_failed_capture(c10::DeviceIndex device) {
    try {
      graph_.capture_end();
    } catch (const std::exception&) {
      (void)cudaGetLastError();
      c10::cuda::CUDACachingAllocator::endAllocateToPool(device, pool_);
    }
  }

  c10::MempoolId_t pool_;
  at::cuda::CUDAGraph graph_;
};

}  // namespace

std::unique_ptr<Graph> record(const std::function<void()>& work, int device, const Graph* before) {
  return std::make_unique<CapturedGraph>(work, static_cast<c10::DeviceIndex>(device), before);
}

}  // namespace vmla::kernels::cuda
