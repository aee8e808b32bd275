#include "kernels/cuda_graph.h"

#include <ATen/ATen.h>

#include "kernels/cuda_module.h"

namespace vmla::kernels {
namespace {

thread_local bool recording = false;

}  // namespace

bool can_record(c10::Device device) {
  return device.is_cuda() && cuda_kernels() != nullptr;
}

std::unique_ptr<CudaGraph> record(c10::Device device,
                                  const std::function<void()>& work,
                                  const CudaGraph* before) {
  TORCH_CHECK(can_record(device), "only a GPU records work, given: ", device);
  const auto marked = [&] {
    struct Mark {
      Mark() { recording = true; }
      ~Mark() { recording = false; }
    } const mark;
    work();
  };
  return cuda_kernels()->record(marked, device.index(), before);
}

bool is_recording() {
  return recording;
}

}  // namespace vmla::kernels
