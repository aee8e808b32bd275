#pragma once

#include <string>

namespace vmla::trainer {

/// The rate of a large matrix product on `device`, in TFLOP/s: the ceiling that `mfu` in the log is
/// relative to. On a CPU 512 x 512 in fp32 with the threads at hand, on a GPU 8192 x 8192 in bf16;
/// the best of a few. Measured once a process, on the first device that is asked for.
double gemm_tflops(const std::string& device);

}  // namespace vmla::trainer
