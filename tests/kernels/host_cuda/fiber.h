#pragma once

#include <ucontext.h>

#include <cstddef>
#include <memory>

namespace vmla::tests::host_cuda {

/// A stack and the place in it where it was left. AddressSanitizer is told of every change.
class Fiber {
 public:
  /// The stack that is running now; it can be left and resumed.
  Fiber() = default;
  /// A stack of its own, on which `life`, which never returns, begins when it is first resumed.
  explicit Fiber(void (*life)());
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// Leaves `left`, the fiber that is running, and goes on with this one. Returns when `left` is
  /// resumed.
  void resume_from(Fiber& left);
  /// To be called on this object, that of the stack which was running first, at the begin of a new
  /// fiber's life.
  void was_left();

 private:
  ucontext_t context_{};
  std::unique_ptr<char[]> own_stack_;
  const void* stack_ = nullptr;
  // Read under AddressSanitizer alone.
  [[maybe_unused]] size_t bytes_ = 0;
  [[maybe_unused]] void* sanitizer_frame_ = nullptr;
};

}  // namespace vmla::tests::host_cuda
