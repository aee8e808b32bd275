#pragma once

namespace vmla::model {

/// Counts the floating-point operations that this thread executes from its construction to its end,
/// of matrix products and attention calls, as LibTorch's dispatcher sees them (1 multiply-add = 2
/// operations). On tensors of the meta device, which compute nothing, it counts what a real run
/// would execute. forward_flops (flops.h) says what they should be.
///
/// The backward of an attention call counts as two forwards, as in the figures of others; kernels
/// that compute the scores once more in it do 2.5. One at a time in a thread.
class ExecutedFlops {
 public:
  struct Count {
    double products = 0;
    double attention = 0;
    double total() const { return products + attention; }
  };

  ExecutedFlops();
  ~ExecutedFlops();
  ExecutedFlops(const ExecutedFlops&) = delete;
  ExecutedFlops& operator=(const ExecutedFlops&) = delete;

  const Count& count() const { return count_; }
  /// The count so far, which begins again at 0.
  Count take();

 private:
  struct Observer;
  Count count_;
  int in_attention_ = 0;
  unsigned long handle_;
};

}  // namespace vmla::model
