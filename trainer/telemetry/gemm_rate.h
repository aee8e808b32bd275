#pragma once

#include <string>

namespace vmla::trainer {

/// The rate of a large fp32 matrix product on `device` with the threads at hand, in TFLOP/s: the
/// ceiling that `mfu` in the log is relative to. Measured once a process.
double gemm_tflops(const std::string& device);

}  // namespace vmla::trainer
