#include "model/weights/home_buffers.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "kernels/device_streams.h"
#include "kernels/host_pages.h"
#include "model/io/error.h"
#include "model/io/log.h"

namespace vmla::model {
namespace {

/// Whether a GPU reads what lies there out of the host's memory.
bool is_lent(const Home& home) {
  return home.lies.is_cpu() && home.used.is_cuda();
}

}  // namespace

Home Home::offloaded_from(at::Device device) {
  Home home(device);
  if (!device.is_meta()) home.lies = at::Device(at::kCPU);
  home.offloaded = true;
  return home;
}

at::Tensor brought(const at::Tensor& tensor, const Home& home) {
  if (!home.offloaded) return tensor;
  at::Tensor here = at::empty(tensor.sizes(), tensor.options().device(home.used));
  here.copy_(tensor, /*non_blocking=*/true);
  return here;
}

void finish_bringing(const Home& home) noexcept {
  if (is_lent(home)) kernels::settle(kernels::current_stream(home.used));
}

HomeBuffers::HomeBuffers(const Home& home, std::string what)
    : home_(home), what_(std::move(what)) {}

at::Tensor HomeBuffers::zeros(int64_t numel, at::ScalarType dtype) {
  if (!is_lent(home_))
    return at::zeros({numel}, at::TensorOptions().device(home_.lies).dtype(dtype));
  const size_t bytes = static_cast<size_t>(numel) * c10::elementSize(dtype);
  const auto [block, problem] = kernels::host_block(std::max<size_t>(bytes, 1), /*locked=*/true);
  if (!block.defined())
    fail_run("no memory for {} on the host ({} bytes): {}", what_, bytes, problem);
  if (!problem.empty() && !std::exchange(said_, true))
    log::warn("{} on the host are not page-locked: {}; steps wait for them", what_, problem);
  return block.narrow(0, 0, static_cast<int64_t>(bytes)).view(dtype);
}

at::Tensor HomeBuffers::empty(int64_t numel, at::ScalarType dtype) {
  // Pages come from the system as zeros, so that they cost nothing more.
  if (is_lent(home_)) return zeros(numel, dtype);
  return at::empty({numel}, at::TensorOptions().device(home_.lies).dtype(dtype));
}

}  // namespace vmla::model
