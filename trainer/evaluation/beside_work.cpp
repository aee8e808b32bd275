#include "trainer/evaluation/beside_work.h"

#include "kernels/device_streams.h"

#include <ATen/core/grad_mode.h>
#include <c10/core/StreamGuard.h>

#include <utility>

namespace vmla::trainer {

BesideWork::BesideWork(bool beside, at::Device device) : beside_(beside) {
  if (beside && device.is_cuda()) stream_ = kernels::side_stream(device);
}

void BesideWork::start(std::function<void()> work) {
  finish();
  if (!beside_) {
    work();
    return;
  }
  // A future of std::async waits in its destructor, so that nothing outlives what it refers to.
  running_ = std::async(std::launch::async, [stream = stream_, work = std::move(work)] {
    const at::NoGradGuard no_grad;  // a thread's own, as is the current stream
    const c10::OptionalStreamGuard guard(stream);
    work();
  });
}

void BesideWork::finish() {
  if (running_.valid()) running_.get();
}

}  // namespace vmla::trainer
