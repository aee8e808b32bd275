#include "tests/kernels/host_cuda/fiber.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

namespace vmla::tests::host_cuda {
namespace {
constexpr size_t kStackBytes = 64 << 10;
}  // namespace

Fiber::Fiber(void (*life)())
    : own_stack_(new char[kStackBytes]), stack_(own_stack_.get()), bytes_(kStackBytes) {
  getcontext(&context_);
  context_.uc_stack.ss_sp = own_stack_.get();
  context_.uc_stack.ss_size = kStackBytes;
  context_.uc_link = nullptr;
  makecontext(&context_, life, 0);
}

void Fiber::resume_from(Fiber& left) {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(&left.sanitizer_frame_, stack_, bytes_);
#endif
  swapcontext(&left.context_, &context_);
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(left.sanitizer_frame_, nullptr, nullptr);
#endif
}

void Fiber::was_left() {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(nullptr, &stack_, &bytes_);
#endif
}

}  // namespace vmla::tests::host_cuda
