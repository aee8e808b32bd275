#include "trainer/evaluation/beside_work.h"

#include <ATen/core/grad_mode.h>
#include <c10/core/StreamGuard.h>

#include <chrono>
#include <utility>

namespace vmla::trainer {

void BesideWork::start(std::function<void()> work) {
  finish();
  if (!beside_) {
    work();
    return;
  }
  running_ = std::async(std::launch::async, [stream = stream_, work = std::move(work)] {
    const at::NoGradGuard no_grad;  // a thread's own, as is the current stream
    const c10::OptionalStreamGuard guard(stream);
    work();
  });
}

void BesideWork::finish() {
  if (running_.valid()) running_.get();
}

void BesideWork::throw_if_failed() {
  constexpr auto kNoWait = std::chrono::seconds(0);
  if (running_.valid() && running_.wait_for(kNoWait) == std::future_status::ready) running_.get();
}

}  // namespace vmla::trainer
