#pragma once

#include <c10/core/DeviceType.h>

#include <cstdint>

namespace vmla::model {

/// Counts what this thread executes from its construction to its end, as LibTorch's dispatcher sees
/// it: floating-point operations of matrix products and attention calls (1 multiply-add = 2
/// operations), kernels, and the bytes that they read and write. On tensors of the meta device,
/// which compute nothing, it counts what a real run would execute. forward_flops (flops.h) says
/// what the operations should be.
///
/// The backward of an attention call counts as two forwards, as in the figures of others; kernels
/// that compute the scores once more in it do 2.5. One at a time in a thread.
///
/// A kernel is an operation that makes or changes numbers of a device: each of LibTorch's that is
/// made of no other one, and what a fused operation of ours starts (kernels/kernel_record.h),
/// however it is computed. A GPU starts as many, and a few more where a library's product or
/// attention takes several. Bytes are those of the tensors that a kernel reads and makes, each
/// once: what is in a GPU's cache between two kernels counts in full, and sums between the kernels
/// of one operation do not.
class ExecutedWork {
 public:
  struct Count {
    double products = 0;
    double attention = 0;
    int64_t kernels = 0;
    double bytes = 0;
    double flops() const { return products + attention; }
    Count& operator+=(const Count& other);
    /// `times` as much, as of so many micro-batches.
    Count scaled(double times) const;
  };

  /// Counts the kernels and bytes of this device; operations of any.
  explicit ExecutedWork(c10::DeviceType device = c10::kCPU);
  ~ExecutedWork();
  ExecutedWork(const ExecutedWork&) = delete;
  ExecutedWork& operator=(const ExecutedWork&) = delete;

  const Count& count() const { return count_; }
  /// The count so far, which begins again at 0.
  Count take();

 private:
  struct Call;
  struct Observer;
  c10::DeviceType device_;
  Count count_;
  Call* open_ = nullptr;  // the innermost call that has begun and not ended
  unsigned long handle_;
};

}  // namespace vmla::model
